"""Speech: lengths and pitch of the recordings, what was odd about them, and what they look like."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...engine.graph import SAMPLES
from ...engine.plan import PlannedNode
from ...errors import RowError, UsageError
from ...records import FeatureSpec
from ...store import tensor
from ...store.reader import OutputFolder
from ..context import Context, Section
from ..figures import histogram
from ..html import Child, Markup, code, element, join, note
from ..numbers import decimal_text, seconds_text
from ..pictures import placeholder
from ..tables import Rows, table
from ..voice import voice_picture

STAGE = "covarep"
PICTURE_WIDTH = 900
MAX_PICTURES = 6
_BINS = 20
# A share of clipped samples worth a look.
_CLIPPED = 0.001


@dataclass(frozen=True)
class Speech:
    """What is known about the samples whose columns are in the store.

    Attributes:
        keys: Their keys.
        seconds: How long each is: of a clip the clip, not its recording.
        facts: ``covarep.facts`` of each, by name.
    """

    keys: list[str]
    seconds: np.ndarray
    facts: dict[str, np.ndarray]


def section(context: Context) -> Section | None:
    """Return the section; None when no acoustic columns were extracted."""
    for planned in context.nodes_of(STAGE):
        if planned.node.rows == SAMPLES and planned.folders[0].commits:
            speech = take_speech(planned)
            if speech.keys:
                return Section("speech", "Speech", join(_parts(context, speech)))
    return None


def take_speech(planned: PlannedNode) -> Speech:
    """Read lengths and facts of every committed shard; columns themselves stay on disk."""
    outputs = {
        spec.name: (spec, folder)
        for (spec, _), folder in zip(planned.outputs, planned.folders, strict=True)
        if isinstance(spec, FeatureSpec)
    }
    columns, folder = outputs[STAGE]
    facts_spec, facts_folder = outputs[f"{STAGE}.facts"]
    keys: list[str] = []
    seconds: list[np.ndarray] = []
    facts: list[np.ndarray] = []
    for shard in sorted(set(folder.commits) & set(facts_folder.commits)):
        head = folder.table(shard, ["key", "status", "n"])
        used = [status == "ok" for status in head["status"].to_pylist()]
        keys += [key for key, ok in zip(head["key"].to_pylist(), used, strict=True) if ok]
        rows = np.asarray([n or 0 for n in head["n"].to_pylist()], dtype=float)
        seconds.append(rows[used] * (columns.hop_s or 0.0))
        facts.append(_facts(facts_folder, shard, facts_spec)[used])
    values = np.concatenate(facts) if facts else np.zeros((0, len(facts_spec.columns)))
    named = {name: values[:, index] for index, name in enumerate(facts_spec.columns)}
    return Speech(keys, np.concatenate(seconds) if seconds else np.zeros(0), named)


def _facts(folder: OutputFolder, shard: int, spec: FeatureSpec) -> np.ndarray:
    packed = tensor.storage(folder.table(shard, ["value"])["value"])
    return np.asarray(tensor.fixed_to_numpy(packed, spec))


def _parts(context: Context, speech: Speech) -> Iterator[Child]:
    total = seconds_text(float(speech.seconds.sum()))
    yield element("p", f"{len(speech.keys):,} samples with acoustic columns, {total} together.")
    yield table(("what", "lowest", "median", "highest"), list(_ranges(speech)))
    yield table(("samples that", "number"), list(_oddities(speech)))
    figures = [_histogram(speech.seconds, "length in seconds")]
    heard = speech.facts["median_f0_hz"]
    if (heard > 0).any():
        figures.append(_histogram(heard[heard > 0], "median pitch in Hz, samples with voice"))
    yield element("div", figures, class_="figures")
    yield element("h3", "What they look like")
    yield note(
        "From top to bottom: waveform; pitch from 0 to 500 Hz, blue where voiced; the "
        "columns over time, one stripe each, dark where high in that sample. "
        "Chosen for what stands beside the key, not for being typical."
    )
    for reason, key in chosen(speech):
        yield _picture(context, key, reason)


def _ranges(speech: Speech) -> Iterator[list[Child]]:
    rows = {"length, s": speech.seconds}
    heard = speech.facts["median_f0_hz"]
    rows["median pitch, Hz"] = heard[heard > 0]
    rows["rate of the file, Hz"] = speech.facts["source_rate_hz"]
    rows["clipped share"] = speech.facts["clipped_share"]
    for name, values in rows.items():
        if len(values):
            numbers = (values.min(), np.median(values), values.max())
            yield [name, *(decimal_text(float(number)) for number in numbers)]


def _oddities(speech: Speech) -> Rows:
    facts = speech.facts
    found = {
        "have no voiced frame": facts["median_f0_hz"] <= 0,
        "were turned upside down (negative polarity)": facts["polarity"] < 0,
        "have no polarity (silence)": facts["polarity"] == 0,
        "come from less than 16 kHz": facts["narrowband"] > 0,
        "have more than one channel": facts["source_channels"] > 1,
        f"have over {100 * _CLIPPED:g} % clipped values": facts["clipped_share"] > _CLIPPED,
        "had NaN or infinite values repaired": facts["repaired_share"] > 0,
    }
    return [[name, int(where.sum())] for name, where in found.items()]


def _histogram(values: np.ndarray, label: str) -> Markup:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=_BINS, range=(low, high if high > low else low + 1.0))
    return histogram(counts.tolist(), decimal_text(low), decimal_text(high), label)


def chosen(speech: Speech) -> list[tuple[str, str]]:
    """Return ``(reason, key)`` of up to `MAX_PICTURES` samples, none twice."""
    pitch, clipped = speech.facts["median_f0_hz"], speech.facts["clipped_share"]
    voiced = pitch > 0
    middle = np.abs(speech.seconds - np.median(speech.seconds))
    wanted = [
        ("of middle length", -middle, np.ones(len(pitch), bool)),
        ("lowest pitch", -pitch, voiced),
        ("highest pitch", pitch, voiced),
        ("most clipped", clipped, clipped > _CLIPPED),
        ("without voice", speech.seconds, ~voiced),
        ("longest", speech.seconds, np.ones(len(pitch), bool)),
        ("shortest", -speech.seconds, np.ones(len(pitch), bool)),
    ]
    found: dict[str, str] = {}
    for reason, score, where in wanted:
        if where.any() and len(found) < MAX_PICTURES:
            best = int(np.where(where, score, -np.inf).argmax())
            found.setdefault(speech.keys[best], reason)
    return [(reason, key) for key, reason in found.items()]


def _picture(context: Context, key: str, reason: str) -> Markup:
    head = element("p", code(key), element("small", reason))
    buffer = io.BytesIO()
    try:
        voice_picture(context.session, key).save(buffer, format="PNG")
        figure = context.gallery.encoded(
            buffer.getvalue(), key, f"{key}: {reason}", pixels=PICTURE_WIDTH, covered=False
        )
    except RowError as error:
        figure = placeholder(error.code, error.message)
    except UsageError as error:
        figure = placeholder("not drawn", str(error))
    return element("div", head, figure, class_="group voice")
