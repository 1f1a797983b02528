"""Versioned wording of requests, hashed so that a changed word is a changed key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from ..config import Config, canonical_json, digest
from ..errors import ConfigError, unknown_name

_FOLDER = Path(__file__).parent / "prompts"

Message = dict[str, str]
Shape = Literal["array", "object"]


class Example(Config):
    """One worked example: a caption and its versions."""

    caption: str
    paraphrases: tuple[str, ...]


class Prompt(Config):
    """The wording of one kind of request.

    Attributes:
        name: For example ``paraphrase_v1``.
        system: Instruction; ``{n}`` and ``{shape}`` are filled in.
        shapes: How the answer is described, for a bare array and for an object.
        open, close: The lines around the caption.
        repair: What is asked when an answer could not be read.
        examples: Worked examples.
    """

    name: str
    system: str
    shapes: Mapping[Shape, str]
    open: str
    close: str
    repair: str
    examples: tuple[Example, ...] = ()

    @property
    def version(self) -> str:
        """Name and hash of the wording, for example ``paraphrase_v1@0f3c…``."""
        return f"{self.name}@{digest(self.model_dump(mode='json'))}"

    def messages(self, caption: str, n: int, shape: Shape) -> list[Message]:
        """Return the messages that ask for ``n`` versions of ``caption``, and nothing else."""
        system = self.system.replace("{shape}", self.shapes[shape]).replace("{n}", str(n))
        messages = [{"role": "system", "content": system.strip()}]
        for example in self.examples:
            messages.append({"role": "user", "content": self._delimited(example.caption)})
            answer = _written(example.paraphrases[:n], shape)
            messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": self._delimited(caption)})
        return messages

    def repair_messages(self, caption: str, n: int, shape: Shape, previous: str) -> list[Message]:
        """Return the messages that ask again after ``previous`` could not be read."""
        wanted = self.repair.replace("{shape}", self.shapes[shape]).replace("{n}", str(n))
        messages = self.messages(caption, n, shape)
        # Some servers refuse messages without content.
        if previous.strip():
            messages.append({"role": "assistant", "content": previous})
        return [*messages, {"role": "user", "content": wanted.strip()}]

    def _delimited(self, caption: str) -> str:
        # A caption that holds a delimiter must not end the data early.
        for mark in (self.open, self.close):
            caption = caption.replace(mark, " ".join(mark))
        return f"{self.open}\n{caption}\n{self.close}"


def _written(paraphrases: tuple[str, ...], shape: Shape) -> str:
    values = list(paraphrases)
    return canonical_json(values if shape == "array" else {"paraphrases": values})


def load_prompt(name: str) -> Prompt:
    """Return the prompt called ``name``.

    Raises:
        ConfigError: There is no such prompt, or its file does not validate.
    """
    known = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    if name not in known:
        raise ConfigError(unknown_name("prompt version", name, known))
    try:
        values = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        return Prompt.model_validate(values)
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"prompt '{name}' does not validate: {error}") from None
