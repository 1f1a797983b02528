"""MulT, the Multimodal Transformer for unaligned sequences, in three published forms.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019:

```
temporal convolution      X_α → x̂_α                       (§3.1)  proj_l, proj_a, proj_v
cross-modal encoders      x̂_α ← x̂_β for every β ≠ α        (§3.2)  trans_α_with_β, width d
self encoder              [x̂_α ← β; x̂_α ← γ] → Z_α         (§3.3)  trans_α_mem, width 2 d
head                      h = last steps [Z_l; Z_a; Z_v];  W (W₂ drop(relu(W₁ h)) + h)
```

``l`` text, ``a`` audio, ``v`` vision; ``B`` samples, ``L`` steps, ``d`` width.

Presets hold the numbers of the authors' repository (``original``), of the toolkit MMSA and of the
copy with shared levels that GsiT is compared with. All of those attend to padding and read out the
last step, padding or not; here that is a switch (``padding_mask``, ``readout``) and the default
follows the real lengths: a sequence of L steps keeps L − kernel + 1 behind its convolution (at
least one: a shorter sequence is continued with zeros), attention, future mask and read-out see
these alone, and appending padding changes nothing. Without padding both give the same numbers.

Deviations: where padding is left out, a modality of length 0 is a context of zeros for the others
and a zero read-out; modalities may be absent from the data altogether (M of them have M (M − 1)
cross-modal and M self encoders of width max(M − 1, 1) · d; one alone has its self encoder on x̂);
layers that the authors' code builds but never uses are not built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from .batch import (
    FeatureBatch,
    FusionBatch,
    FusionModel,
    FusionOutput,
    InputSpec,
    ModelConfig,
    Task,
)
from .layers.convolution import convolve_packed, convolve_padded, num_windows
from .layers.crossmodal import Encoder, EncoderOptions
from .layers.published import load_published
from .layers.sequences import (
    PackedSteps,
    PaddedSteps,
    Steps,
    attention_between,
    blocks_of_similar_length,
)

ROLES = {"text": "bert", "audio": "covarep", "vision": "openface"}
"""Roles in the order of the read-out, with the features that play them by default."""

LETTERS = {"text": "l", "audio": "a", "vision": "v"}
"""What roles are called in names of parameters."""

Role = Literal["text", "audio", "vision"]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Config(ModelConfig):
    """Settings of MulT.

    Attributes:
        width: d.
        heads: Heads of every encoder.
        levels: Levels of the cross-modal encoders.
        min_self_levels: Self encoders have ``levels`` levels, but at least these.
        share_levels: Whether the levels of an encoder are one layer.
        kernel_text, kernel_audio, kernel_vision: Steps that a convolution sees. A modality of
            width d has no convolution.
        positions: Whether encoders add sinusoidal positions.
        zero_steps_unplaced: Whether a step whose first number is exactly 0 gets no position.
        future_mask: Whether query i sees only keys j ≤ i + |L_k − L_q|.
        padding_mask: Whether padding is left out of everything; else it is a step like any other.
        readout: Which step an encoder's result is: the last one that counts, or the last.
        layout: How it is computed where padding is left out: ``packed`` never computes padding;
            ``padded`` computes and ignores it, slowly: the definition of the former.
        targets: Modalities whose self encoder is read out; others serve as sources only.
        attention_dropout: Of attention from text, and within a modality.
        attention_dropout_audio, attention_dropout_vision: Of attention from audio, from vision.
        activation_dropout, residual_dropout, embed_dropout: See `EncoderOptions`.
        text_dropout: On the numbers of the text input.
        output_dropout: In the head.
    """

    width: Annotated[int, Field(ge=2)] = 30
    heads: Count = 5
    levels: Count = 5
    min_self_levels: Count = 3
    share_levels: bool = False
    kernel_text: Count = 1
    kernel_audio: Count = 1
    kernel_vision: Count = 1
    positions: bool = True
    zero_steps_unplaced: bool = False
    future_mask: bool = True
    padding_mask: bool = True
    readout: Literal["last_real", "last_padded"] = "last_real"
    layout: Literal["packed", "padded"] = "packed"
    targets: Annotated[tuple[Role, ...], Field(min_length=1)] = ("text", "audio", "vision")
    attention_dropout: Rate = 0.1
    attention_dropout_audio: Rate = 0.0
    attention_dropout_vision: Rate = 0.0
    activation_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    embed_dropout: Rate = 0.25
    text_dropout: Rate = 0.25
    output_dropout: Rate = 0.0

    @model_validator(mode="after")
    def _agree(self) -> Config:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} doesn't divide width = {self.width}")
        if self.padding_mask and self.readout == "last_padded":
            raise ValueError("readout = last_padded reads padding: it needs padding_mask = false")
        return self

    def kernel(self, role: str) -> int:
        """Return the size of a modality's convolution."""
        sizes = {"text": self.kernel_text, "audio": self.kernel_audio, "vision": self.kernel_vision}
        return sizes[role]

    def attention_dropout_of(self, source: str) -> float:
        """Return the dropout on attention from this modality into another."""
        own = {"audio": self.attention_dropout_audio, "vision": self.attention_dropout_vision}
        return own.get(source, self.attention_dropout)

    def encoder(self, levels: int, attention_dropout: float) -> EncoderOptions:
        """Return the options of one encoder."""
        return EncoderOptions(
            heads=self.heads,
            levels=levels,
            share_levels=self.share_levels,
            positions=self.positions,
            zero_steps_unplaced=self.zero_steps_unplaced,
            attention_dropout=attention_dropout,
            activation_dropout=self.activation_dropout,
            residual_dropout=self.residual_dropout,
            embed_dropout=self.embed_dropout,
        )


class Model(FusionModel):
    """MulT over the modalities that the data have.

    Args:
        config: See `Config`.
        inputs: Of ``text``, ``audio``, ``vision``, those that there are: sequences (None, D) or
            (L, D), or vectors (D,), which are sequences of one step.
        tasks: What to predict; their logits are side by side in ``out_layer``.

    Raises:
        ValueError: Without any modality, or with none of ``config.targets``.
    """

    optional_roles: ClassVar[frozenset[str]] = frozenset(ROLES)

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        self.roles = [role for role in ROLES if role in inputs]
        self.targets = [role for role in self.roles if role in config.targets]
        if not self.targets:
            wanted = " or ".join(config.targets)
            raise ValueError(f"MulT got the inputs {sorted(inputs)}, expected {wanted} among them")
        for role in self.roles:
            kernel, size = config.kernel(role), inputs[role].width
            if size != config.width:
                convolution = nn.Conv1d(size, config.width, kernel, bias=False)
                self.add_module(f"proj_{LETTERS[role]}", convolution)
        for role in self.targets:
            self._add_encoders(role)
        combined = len(self.targets) * self._self_width
        self.proj1 = nn.Linear(combined, combined)
        self.proj2 = nn.Linear(combined, combined)
        self.out_layer = nn.Linear(combined, sum(task.num_outputs for task in self.tasks))

    @property
    def _self_width(self) -> int:
        return int(max(len(self.roles) - 1, 1) * self.config.width)

    def _sources(self, role: str) -> list[str]:
        return [source for source in self.roles if source != role]

    def _add_encoders(self, role: str) -> None:
        config, letter = self.config, LETTERS[role]
        for source in self._sources(role):
            options = config.encoder(config.levels, config.attention_dropout_of(source))
            name = f"trans_{letter}_with_{LETTERS[source]}"
            self.add_module(name, Encoder(config.width, options))
        levels = max(config.levels, config.min_self_levels)
        options = config.encoder(levels, config.attention_dropout)
        self.add_module(f"trans_{letter}_mem", Encoder(self._self_width, options))

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task."""
        return self.predict(self.read_out(batch))

    def read_out(self, batch: FusionBatch) -> Tensor:
        """Return the self encoders' last steps, side by side in the order of `ROLES`, (B, ·)."""
        sequences = self._sequences(batch)
        return torch.cat([self._read_out_of(role, sequences) for role in self.targets], dim=-1)

    def predict(self, features: Tensor) -> FusionOutput:
        """Return logits per task from what `read_out` returns."""
        hidden = functional.relu(self.proj1(features))
        hidden = functional.dropout(hidden, self.config.output_dropout, self.training)
        logits = self.out_layer(self.proj2(hidden) + features)
        sizes = [task.num_outputs for task in self.tasks]
        parts = logits.split(sizes, dim=-1)
        return FusionOutput({task.name: part for task, part in zip(self.tasks, parts, strict=True)})

    def _read_out_of(self, role: str, sequences: Mapping[str, tuple[Tensor, Steps]]) -> Tensor:
        letter, future = LETTERS[role], self.config.future_mask
        x, steps = sequences[role]
        crossed = []
        for source in self._sources(role):
            values, source_steps = sequences[source]
            encoder = self.get_submodule(f"trans_{letter}_with_{LETTERS[source]}")
            attend = attention_between(steps, source_steps, future=future, like=values)
            crossed.append(encoder(x, steps, attend, values, source_steps))
        encoder = self.get_submodule(f"trans_{letter}_mem")
        joined = torch.cat(crossed, dim=-1) if crossed else x
        attend = attention_between(steps, steps, future=future, like=x)
        encoded = encoder(joined, steps, attend)
        if self.config.readout == "last_padded":
            return encoded[:, -1]
        return steps.last(encoded)

    def _sequences(self, batch: FusionBatch) -> dict[str, tuple[Tensor, Steps]]:
        features = {role: _as_sequence(batch.features[role]) for role in self.roles}
        if not (self.config.padding_mask and self.config.layout == "packed"):
            return {role: self._padded(role, feature) for role, feature in features.items()}
        packed = {role: self._packed(role, feature) for role, feature in features.items()}
        blocks = blocks_of_similar_length([lengths for _, lengths in packed.values()])
        return {
            role: (x, PackedSteps.plan(lengths, blocks, x.device))
            for role, (x, lengths) in packed.items()
        }

    def _padded(self, role: str, feature: FeatureBatch) -> tuple[Tensor, PaddedSteps]:
        """Return x̂ (B, L, d); what lies behind a sample's windows is padding."""
        feature = feature.padded()
        values = self._text_dropped(role, feature.values)
        if self.config.padding_mask:
            values = torch.where(feature.mask[..., None], values, 0)
        convolution = self._convolution(role)
        values = convolve_padded(values, convolution)
        kernel = convolution.kernel_size[0] if convolution is not None else 1
        lengths = num_windows(feature.lengths, kernel)
        seen = lengths if self.config.padding_mask else torch.full_like(lengths, values.shape[1])
        return values, PaddedSteps(lengths, seen, values.shape[1])

    def _packed(self, role: str, feature: FeatureBatch) -> tuple[Tensor, list[int]]:
        """Return x̂ (N, d) and the number of steps of each sample."""
        feature = feature.packed()
        values = self._text_dropped(role, feature.values)
        return convolve_packed(values, feature.lengths.tolist(), self._convolution(role))

    def _convolution(self, role: str) -> nn.Conv1d | None:
        found = getattr(self, f"proj_{LETTERS[role]}", None)
        assert found is None or isinstance(found, nn.Conv1d)
        return found

    def _text_dropped(self, role: str, values: Tensor) -> Tensor:
        rate = self.config.text_dropout if role == "text" else 0.0
        return functional.dropout(values, rate, self.training)


def _as_sequence(feature: FeatureBatch) -> FeatureBatch:
    """Return a vector (B, D) as a sequence of one step, (B, 1, D)."""
    if feature.layout == "fixed" and feature.values.dim() == 2:
        return FeatureBatch(feature.values[:, None], feature.lengths, "padded")
    return feature


def load_original(model: Model, state: Mapping[str, Tensor]) -> None:
    """Load the weights of the authors' code, of MMSA or of GsiT's copy; the names are the same.

    Left out is what has no part in the arithmetic: buffers (``version``, ``_float_tensor``),
    convolutions of modalities that have width d already, self encoders of modalities that aren't
    targets. Where levels are shared, the copies ``layers.1`` and so on must equal ``layers.0``.

    Raises:
        ValueError: See `load_published`.
    """
    load_published(model, state, lambda name: _unused(model, name, state))


def _unused(model: Model, name: str, state: Mapping[str, Tensor]) -> bool:
    if name.endswith((".version", "._float_tensor")):
        return True
    letters = {LETTERS[role]: role for role in model.roles}
    module = name.partition(".")[0]
    if module in {f"proj_{letter}" for letter in letters}:
        return not hasattr(model, module)
    if module in {
        f"trans_{letter}_mem" for letter in letters if letters[letter] not in model.targets
    }:
        return True
    if not model.config.share_levels or ".layers." not in name:
        return False
    before, _, behind = name.partition(".layers.")
    first = f"{before}.layers.0.{behind.partition('.')[2]}"
    return first in state and torch.equal(state[name], state[first])


def unpadded() -> Config:
    """Return the numbers of the authors' repository with padding left out: the default.

    ``pipeline train mult --dataset mosi``; what it reaches is unknown.
    """
    return Config()


def original() -> Config:
    """Return the authors' repository as it is, attention to padding and all.

    ``pipeline train mult --dataset mosi``; what it reaches is unknown: the published numbers belong
    to a width of 40, which the repository doesn't have.
    """
    return Config(padding_mask=False, readout="last_padded", zero_steps_unplaced=True)


def mmsa() -> Config:
    """Return MMSA's settings for CMU-MOSI, ``pipeline train mult --dataset mosi``; unknown."""
    return Config(
        width=50,
        heads=10,
        levels=4,
        kernel_text=5,
        kernel_audio=5,
        kernel_vision=5,
        positions=False,
        padding_mask=False,
        readout="last_padded",
        attention_dropout=0.3,
        attention_dropout_audio=0.2,
        activation_dropout=0.0,
        residual_dropout=0.0,
        embed_dropout=0.2,
        text_dropout=0.5,
        output_dropout=0.5,
    )


def mmsa_mosei() -> Config:
    """Return MMSA's settings for CMU-MOSEI, ``pipeline train mult --dataset mosei``; unknown."""
    sizes = {"width": 30, "heads": 6, "kernel_audio": 1, "kernel_vision": 3}
    rates = {"attention_dropout": 0.4, "attention_dropout_audio": 0.0}
    rates |= {"embed_dropout": 0.0, "text_dropout": 0.3}
    return mmsa().model_copy(update=sizes | rates)


def mmsa_sims() -> Config:
    """Return MMSA's settings for CH-SIMS, ``pipeline train mult --dataset sims``; unknown."""
    sizes = {"levels": 2, "kernel_audio": 1, "kernel_vision": 1}
    rates = {"attention_dropout": 0.2, "attention_dropout_audio": 0.1, "residual_dropout": 0.2}
    rates |= {"embed_dropout": 0.1, "text_dropout": 0.3, "output_dropout": 0.1}
    return mmsa().model_copy(update=sizes | rates)


def shared_level() -> Config:
    """Return GsiT's copy for CMU-MOSI, ``pipeline train mult --dataset mosi``; MAE .923."""
    return mmsa().model_copy(update={"width": 128, "heads": 4, "share_levels": True})


def shared_level_mosei() -> Config:
    """Return GsiT's copy for CMU-MOSEI, ``pipeline train mult --dataset mosei``; MAE .559."""
    return mmsa_mosei().model_copy(update={"width": 128, "heads": 4, "share_levels": True})


def shared_level_sims() -> Config:
    """Return GsiT's copy for CH-SIMS, ``pipeline train mult --dataset sims``; MAE .443."""
    return mmsa_sims().model_copy(update={"share_levels": True})


PRESETS = {
    "unpadded": unpadded,
    "original": original,
    "mmsa": mmsa,
    "mmsa_mosei": mmsa_mosei,
    "mmsa_sims": mmsa_sims,
    "shared_level": shared_level,
    "shared_level_mosei": shared_level_mosei,
    "shared_level_sims": shared_level_sims,
}
