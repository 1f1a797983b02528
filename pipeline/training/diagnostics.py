"""What the scalars of an epoch say about a model that does not learn what it should.

Means of an epoch go in, sentences come out; nothing here knows a model by name. The names that
are understood:

```
hima/<role>/stage1/entropy, …/stage2/entropy      entropy / log n of attention weights
hima/<role>/stage2/max_weight                     greatest weight of one sample
graph/<graph>/isolated, …/density                 shares of nodes and of pairs
graph/jaccard                                     overlap of the image and the text graph
residual_text/<role>                              text area after / before inpainting
gradient/part/hima, gradient/task/<task>          norms
predictions/<task>/largest_share                  share of the class predicted most often
predictions/<task>/accuracy, …/majority           0 to 1, the model's and the constant classifier's
```

A name may have anything before it, such as ``train/``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

UNIFORM = 0.98
ONE_HOT = 0.02
DOMINANT = 0.9
ISOLATED = 0.9
DENSE = 0.5
SAME_EDGES = 0.95
OTHER_EDGES = 0.01
RESIDUAL_TEXT = 0.25
VANISHING = 1e-8


class Rule(NamedTuple):
    """When to warn and what to say.

    Attributes:
        name: Pattern that the end of a scalar's name matches; its groups fill in the sentence.
        above, below: Warn when the value is greater, or smaller.
        sentence: Filled with the groups by number, ``value`` and ``context``.
    """

    name: str
    sentence: str
    above: float = math.inf
    below: float = -math.inf

    def fires(self, value: float) -> bool:
        """Say whether a value is outside the limits."""
        return value > self.above or value < self.below


RULES = (
    Rule(
        r"hima/([^/]+)/(stage\d)/entropy",
        "Attention over {0} ({1}) is uniform: entropy is {value:.3f} of its maximum, above "
        f"{UNIFORM}, so it picks out nothing{{context}}.",
        above=UNIFORM,
    ),
    Rule(
        r"hima/([^/]+)/(stage\d)/entropy",
        "Attention over {0} ({1}) looks at one entry only: entropy is {value:.3f} of its maximum, "
        f"below {ONE_HOT}{{context}}.",
        below=ONE_HOT,
    ),
    Rule(
        r"hima/([^/]+)/stage2/max_weight",
        "One sample of a batch makes the bias of {0}: its weight is {value:.2f}, "
        f"above {DOMINANT}.",
        above=DOMINANT,
    ),
    Rule(
        r"graph/([^/]+)/isolated",
        "Graph {0} leaves {value:.0%} of its nodes without neighbours: they learn nothing from "
        "other samples. Lower cmrl.thresholds.{0}, or use cmrl.edges=topk.",
        above=ISOLATED,
    ),
    Rule(
        r"graph/([^/]+)/density",
        "Graph {0} joins {value:.0%} of all pairs: neighbours say little about a sample. Raise "
        "cmrl.thresholds.{0}.",
        above=DENSE,
    ),
    Rule(
        r"graph/(jaccard)",
        "The image and the text graph have nearly the same edges (overlap {value:.2f}): the "
        "graphs across modalities add nothing.",
        above=SAME_EDGES,
    ),
    Rule(
        r"graph/(jaccard)",
        "The image and the text graph share next to no edge (overlap {value:.3f}): a graph "
        "across modalities joins samples at random as the other modality sees it.",
        below=OTHER_EDGES,
    ),
    Rule(
        r"residual_text/([^/]+)",
        "Inpainting leaves on average {value:.0%} of the text area in the painted pictures of {0}, "
        f"above {RESIDUAL_TEXT:.0%}: the worst are in the `pipeline report` of the extraction.",
        above=RESIDUAL_TEXT,
    ),
    Rule(
        r"predictions/([^/]+)/largest_share",
        "The head of {0} predicts one class only{context}.",
        above=1 - 1e-9,
    ),
    Rule(
        r"gradient/task/([^/]+)",
        "The loss of {0} gives no gradient (norm {value:.1e}): the task does not learn.",
        below=VANISHING,
    ),
)


def diagnose(means: Mapping[str, float]) -> list[str]:
    """Return one sentence per rule that the means of an epoch break.

    Args:
        means: Scalars by name, averaged over an epoch. Values that are not finite are reported;
            names that no rule knows are passed over.

    Returns:
        Sentences in the order of the rules, then of the names.
    """
    found = [
        f"{name} is {value}: it was divided by nothing, or the model has diverged."
        for name, value in means.items()
        if not math.isfinite(value)
    ]
    for rule in RULES:
        for name, value in means.items():
            match = re.search(rf"(?:^|/){rule.name}$", name)
            if match is None or not math.isfinite(value) or not rule.fires(value):
                continue
            context = _context(name, match, means)
            found.append(rule.sentence.format(*match.groups(), value=value, context=context))
    return found


def _context(name: str, match: re.Match[str], means: Mapping[str, float]) -> str:
    """Return what else is known of a scalar, to stand before the sentence's full stop."""
    before = name[: match.start()] + ("/" if match.group().startswith("/") else "")
    if "hima/" in match.group() and f"{before}gradient/part/hima" in means:
        return f" (gradient norm of its parameters {means[f'{before}gradient/part/hima']:.1e})"
    if "predictions/" in match.group():
        beside = f"{before}predictions/{match.group(1)}"
        accuracy, majority = means.get(f"{beside}/accuracy"), means.get(f"{beside}/majority")
        if accuracy is not None and majority is not None:
            return (
                f" (accuracy {accuracy:.1%}, the most frequent class of train alone {majority:.1%})"
            )
    return ""


def prediction_shares(counts: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return ``predictions/<task>/largest_share``.

    Args:
        counts: By task, how often each class was predicted.
    """
    shares = {}
    for task, numbers in counts.items():
        listed = list(numbers)
        if sum(listed):
            shares[f"predictions/{task}/largest_share"] = max(listed) / sum(listed)
    return shares
