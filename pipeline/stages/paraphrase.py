"""Paraphrases of training captions, by a language model or by rules, each with its reason.

What is asked about is the `clean_text` column ``text``: the published recipe sends the lower-cased
caption, and the cleaner also takes out watermark hosts, which nobody should pay to rewrite. The
guards judge the raw paraphrases; the children are cleaned again by `clean_text` over the children.
Only the caption is sent: no label, picture, split, key or dataset name.

Only rows of the training split are asked about, and never a row that was augmented itself.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pyarrow as pa
from pydantic import Field

from ..config import StageConfig
from ..errors import ConfigError, MissingDependency, RowAbsent, RowError
from ..llm.batch_state import BatchFolder, BatchLimits
from ..llm.budget import Caps, price_of
from ..llm.folding import Corpus
from ..llm.guards import GUARDS_VERSION, LABEL_WORDS, Guards
from ..llm.ledger import Ledger
from ..llm.limits import Backoff, Limiter
from ..llm.link import Link, check_base_url
from ..llm.openai_batch import BatchProvider
from ..llm.openai_chat import ChatProvider
from ..llm.paraphraser import Paraphraser
from ..llm.provider import Provider
from ..llm.replay import ReplayProvider
from ..llm.request import Recipe
from ..llm.rules import RulesProvider
from ..llm.settlement import Terms
from ..llm.wording import load_prompt
from ..records import OutputSpec, Row, TableSpec
from ..stage import BaseStage

PAID = frozenset({"openai", "openai-batch"})

SCHEMA = pa.schema(
    [
        ("children", pa.list_(pa.struct([("index", pa.int32()), ("text", pa.string())]))),
        (
            "dropped",
            pa.list_(
                pa.struct([("index", pa.int32()), ("text", pa.string()), ("reason", pa.string())])
            ),
        ),
        ("outcome", pa.string()),
        ("ledger_key", pa.string()),
    ]
)

Result = TypeVar("Result")


# One batch file for a whole shard: each call waits for its file.
_WHOLE_SHARD = 1_000_000


class Config(StageConfig):
    """Who is asked, what is asked, what is kept, and what it may cost.

    Attributes:
        provider: ``replay`` (ledger only), ``rules`` (offline, low quality), ``openai`` (any
            compatible server), ``openai-batch`` (batch files).
        model: Name as the server knows it; no default, also needed to replay.
        base_url: Server.
        n: Versions asked for.
        temperature: None sends none.
        reply_tokens: Output limit of one reply.
        limit_field: What the server calls that limit.
        structured: Tell the server the JSON schema of the answer.
        prompt_version: Wording, a file in `pipeline/llm/prompts`.
        strict_count: Accept exactly ``n`` items, as the published recipe does.
        max_per_parent: Paraphrases kept per caption.
        exclude_classes: Task to class indices; rows with such a label are left alone.
        word_ratio, guard_tokens, label_words: Bounds of the guards.
        max_caption_chars: Longer captions fail.
        ledger: Folder of the ledger; the engine sets ``<store>/llm``.
        price_table: YAML or JSON: model to ``input`` and ``output`` in USD per million tokens.
        confirm_paid: Agree that captions are sent and may be charged.
        max_requests, max_input_tokens, max_output_tokens, budget_usd: Caps over the ledger's life.
        api_key_variable: Environment variable that holds the API key.
        concurrency: Calls at a time, per worker process.
        requests_per_minute, tokens_per_minute: Own limits, per worker process.
        timeout_s: Seconds per call.
        attempts, backoff_first_s, backoff_longest_s: Policy after errors that pass.
        stop_after: Consecutive captions that fail at the server before the run stops.
        resend_lost: How often a request whose sender was killed is sent again; 0, because a server
            that does not honour idempotency keys would bill it twice.
        batch: Sizes of batch files, polling and waiting.
    """

    RUNTIME: ClassVar[frozenset[str]] = StageConfig.RUNTIME | {
        "ledger", "price_table", "confirm_paid", "max_requests", "max_input_tokens",
        "max_output_tokens", "budget_usd", "api_key_variable", "concurrency",
        "requests_per_minute", "tokens_per_minute", "timeout_s", "attempts", "backoff_first_s",
        "backoff_longest_s", "stop_after", "resend_lost", "batch",
    }  # fmt: skip

    provider: Literal["replay", "rules", "openai", "openai-batch"] = "replay"
    model: str | None = None
    base_url: str = "https://api.openai.com/v1"
    n: int = Field(default=5, ge=1, le=20)
    temperature: float | None = Field(default=0.7, ge=0, le=2)
    reply_tokens: int = Field(default=512, ge=16, le=32_768)
    limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    structured: bool = True
    prompt_version: str = "paraphrase_v1"
    strict_count: bool = False
    max_per_parent: int = Field(default=1, ge=1, le=20)
    exclude_classes: Mapping[str, tuple[int, ...]] = {}
    word_ratio: tuple[float, float] = (0.3, 3.0)
    guard_tokens: int = Field(default=128, ge=1)
    label_words: tuple[str, ...] = LABEL_WORDS
    max_caption_chars: int = Field(default=4000, ge=1)
    ledger: str | None = None
    price_table: str | None = None
    confirm_paid: bool = False
    max_requests: int | None = Field(default=None, ge=0)
    max_input_tokens: int | None = Field(default=None, ge=0)
    max_output_tokens: int | None = Field(default=None, ge=0)
    budget_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=4, ge=1, le=256)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_s: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=6, ge=1, le=20)
    backoff_first_s: float = Field(default=1.0, ge=0)
    backoff_longest_s: float = Field(default=60.0, ge=0)
    stop_after: int = Field(default=5, ge=1)
    resend_lost: int = Field(default=0, ge=0)
    batch: BatchLimits = BatchLimits()
    batch_size: int = Field(default=64, ge=1)

    @property
    def folder(self) -> Path:
        """The ledger's folder.

        Raises:
            ConfigError: It is not set.
        """
        if self.ledger is None:
            raise ConfigError("paraphrase.ledger is not set", "set it to <store>/llm")
        return Path(self.ledger)

    def recipe(self) -> Recipe:
        """Return what decides a reply.

        Raises:
            ConfigError: The model is not named, or the address or prompt version is wrong.
        """
        rules = self.provider == "rules"
        if not rules and not self.model:
            raise ConfigError(
                "paraphrase.model is not set; there is no default",
                "--set paraphrase.model=NAME, or --set paraphrase.provider=rules",
            )
        return Recipe(
            service="rules" if rules else "openai",
            model="rules" if rules else str(self.model),
            base_url="" if rules else check_base_url(self.base_url),
            n=self.n,
            temperature=self.temperature,
            reply_tokens=self.reply_tokens,
            limit_field=self.limit_field,
            structured=self.structured,
            prompt=load_prompt(self.prompt_version),
        )

    def terms(self) -> Terms:
        """Return what may be paid.

        Raises:
            ConfigError: The price table lacks the model, or a budget has no price.
        """
        table = Path(self.price_table) if self.price_table else None
        return Terms(
            confirmed=self.confirm_paid,
            caps=Caps(
                self.max_requests, self.max_input_tokens, self.max_output_tokens, self.budget_usd
            ),
            price=price_of(str(self.model), table, self.budget_usd),
            resend_lost=self.resend_lost,
            stop_after=self.stop_after,
        )


class Stage(BaseStage[Config, str]):
    """See the module. The engine calls `open` and `set_corpus` before the first `compute`."""

    NAME = "paraphrase"
    VERSION = 1
    READS = ("clean_text",)
    NEEDS_CORPUS = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._corpus: Corpus | None = None
        self._recipe: Recipe | None = None
        self._ledger: Ledger | None = None
        self._provider: Provider | None = None

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the table of children and dropped items."""
        return (TableSpec("paraphrase", SCHEMA),)

    def identity(self) -> Mapping[str, Any]:
        """Return the wording's hash, the guards' version and, once known, the captions' digest."""
        config = self.config
        recipe = config.recipe()
        if config.provider in PAID:
            config.terms()
            if importlib.util.find_spec("openai") is None:
                raise MissingDependency("openai", "llm")
        facts = {"prompt": recipe.prompt.version, "guards": GUARDS_VERSION}
        return facts | ({"captions": self._corpus.digest} if self._corpus else {})

    def warnings(self) -> tuple[str, ...]:
        """Return what the user must know before captions leave the machine."""
        if self.config.provider == "rules":
            return ("paraphrases are made by rules and are of low quality",)
        if self.config.provider in PAID:
            return (
                f"captions are sent to {self.config.base_url}: they are third-party texts, often "
                "offensive, and may hold names of persons",
            )
        return ()

    @property
    def batch_size(self) -> int:
        """Captions per call; a batch file takes all that there are."""
        return _WHOLE_SHARD if self.config.provider == "openai-batch" else self.config.batch_size

    def reads_labels(self) -> bool:
        """Return whether rows are left alone because of their labels."""
        return bool(self.config.exclude_classes)

    def open(self) -> None:
        """Check settings, read prompt and prices; nothing is sent.

        Raises:
            ConfigError: A setting is wrong.
        """
        config = self.config
        self._recipe = config.recipe()
        self._ledger = None if config.provider == "rules" else Ledger(config.folder)
        self._provider = _provider(config, self._ledger)

    def set_corpus(self, captions: Iterable[tuple[str, str, str]]) -> None:
        """Take in ``(key, split, text)`` of every row of the dataset, for the leak guard."""
        self._corpus = Corpus(captions)

    def load(self, row: Row) -> str:
        """Return the caption to ask about.

        Raises:
            RowAbsent: The row is not for training, is excluded or has no text.
            RowError: The caption is too long.
        """
        sample = row.sample
        if sample.split != "train" or sample.source is not None:
            raise RowAbsent("not_train", "only original training rows are paraphrased")
        for task, classes in self.config.exclude_classes.items():
            label = sample.labels.get(task)
            if any(one in classes for one in (label if isinstance(label, list) else [label])):
                raise RowAbsent("excluded_class", f"rows of this class of '{task}' are left alone")
        cleaned = row.read("clean_text")
        caption = str(cleaned["text"] or "").strip()
        if not caption or cleaned.get("no_text"):
            raise RowAbsent("no_text", "there is no text to paraphrase")
        if len(caption) > self.config.max_caption_chars:
            raise RowError(
                "caption_too_long",
                f"{len(caption)} characters, at most {self.config.max_caption_chars} are sent",
                "raise paraphrase.max_caption_chars",
            )
        return caption

    def compute(self, items: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Return one table row or failure per caption.

        Raises:
            ProviderError: Going on makes no sense, for example the budget is spent; everything
                that was answered until then is in the ledger and is not paid again.
        """
        rows = _run(self._paraphraser().run(items))
        return [{self.NAME: row} for row in rows]

    def _paraphraser(self) -> Paraphraser:
        config = self.config
        if self._recipe is None or self._provider is None:
            raise ConfigError("the stage was not opened", "call open before compute")
        if self._corpus is None:
            raise ConfigError(
                "the captions of the dataset are unknown, so leaks could not be seen",
                "call set_corpus before compute",
            )
        guards = Guards(
            corpus=self._corpus,
            max_kept=config.max_per_parent,
            word_ratio=config.word_ratio,
            max_tokens=config.guard_tokens,
            label_words=config.label_words,
        )
        return Paraphraser(
            recipe=self._recipe,
            provider=self._provider,
            ledger=self._ledger,
            guards=guards,
            strict=config.strict_count,
            writes_reviews=config.provider != "replay",
        )


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile.

    ``offline``: rules. ``paper``: a language model, which must be named and confirmed.
    """
    return {"provider": "openai" if name == "paper" else "rules"}


def _provider(config: Config, ledger: Ledger | None) -> Provider:
    if ledger is None:
        return RulesProvider()
    if config.provider == "replay":
        return ReplayProvider()
    link = Link(check_base_url(config.base_url), config.api_key_variable, config.timeout_s)
    backoff = Backoff(config.attempts, config.backoff_first_s, config.backoff_longest_s)
    terms, model = config.terms(), str(config.model)
    if config.provider == "openai-batch":
        folder = BatchFolder(config.folder)
        return BatchProvider(link, model, ledger, terms, folder, config.batch, backoff)
    limiter = Limiter(config.requests_per_minute, config.tokens_per_minute)
    return ChatProvider(link, model, ledger, terms, backoff, limiter, config.concurrency)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine, also where this thread already has an event loop (notebooks)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
