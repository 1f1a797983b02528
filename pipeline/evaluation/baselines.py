"""Two classifiers that look at no sample, against which every number is read.

**The constant classifier.** What it says comes from the **training** labels, what it scores from
the evaluated ones:

- classification: the most frequent class; multilabel: for each class whether most samples have it;
- regression: the median for MAE; for every binned accuracy and F1 the most frequent bin (for Acc-2
  the majority sign); correlation undefined, as of any constant.

A tie goes to the first class. Identities for a constant that says the class of share q in the
evaluated labels: accuracy q, weighted F1 2q²/(1+q), macro-F1 2q/((1+q)K).

**Guessing.** Each sample gets a class drawn by the class shares of the training labels, as
scikit-learn's ``DummyClassifier(strategy="stratified")`` does; each class of a multilabel task is
drawn on its own. The scores are expectations, exact and without drawing: of N samples, s of the
class, p ~ Binomial(N, q) are called it, of which p·s/N are hits on average, so that

- E accuracy = Σ q·s/N over classes, E recall = q, E precision = (s/N)·P(p > 0),
- E F1 = Σ P(p)·2(p·s/N)/(s+p) over p = 0 … N; macro and weighted means are linear in these.

A macro-F1 above the constant's is therefore no sign that a sample was looked at: guessing reaches
about 1/K, the constant 2q/((1+q)K). Regressions are not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InvalidInput
from ..training.metrics.classification import (
    Average,
    Floats,
    PerClass,
    average,
    ones,
    ratio,
)
from ..training.metrics.families import TaskLike, family_of, score_task, views_of
from ..training.metrics.results import (
    MEAN,
    Array,
    Results,
    labelled,
    mean_over_tasks,
    resampled,
)


def constant_values(
    tasks: Sequence[TaskLike], train_labels: Mapping[str, Array]
) -> dict[str, float | tuple[int, ...]]:
    """Return what the constant classifier says, by task: a code, a number, or a code per class.

    Raises:
        InvalidInput: A task has no training label.
    """
    return {task.name: _constant(task, _present(task, train_labels)) for task in tasks}


def constant_predictions(
    tasks: Sequence[TaskLike], train_labels: Mapping[str, Array], num_samples: int
) -> dict[str, Array]:
    """Return the constant classifier's predictions, for example for a paired difference.

    Args:
        tasks: What is predicted.
        train_labels: By task, the training split's labels; missing ones are left out.
        num_samples: N, the samples to predict.

    Returns:
        By task (N,) codes, (N,) numbers or (N, C) codes.
    """
    result: dict[str, Array] = {}
    for name, value in constant_values(tasks, train_labels).items():
        kind = np.float32 if isinstance(value, float) else np.int64
        result[name] = np.repeat(np.asarray([value], kind), num_samples, axis=0)
    return result


def constant_results(
    tasks: Sequence[TaskLike],
    train_labels: Mapping[str, Array],
    labels: Mapping[str, Array],
    family: str = "auto",
) -> Results:
    """Return the metrics of the constant classifier, in the form `metrics.compute` returns.

    Args:
        tasks: What is predicted.
        train_labels: Labels of the training split, by task.
        labels: Labels of the evaluated split, by task.
        family: See `metrics.FAMILIES`.

    Raises:
        InvalidInput: A task has no training label.
    """
    number = len(next(iter(labels.values()))) if labels else 0
    guess = constant_predictions(tasks, train_labels, number)
    weights = ones(number)
    found = resampled(tasks, labels, guess, weights, family)
    for task in tasks:
        if task.kind == "regression":
            there = labelled(task, labels[task.name])
            found[task.name] = _per_view(
                task,
                _present(task, train_labels),
                labels[task.name][there],
                guess[task.name][there],
                family,
            )
    found[MEAN] = mean_over_tasks({task.name: found[task.name] for task in tasks})
    return {
        task: {metric: float(values[0]) for metric, values in of_task.items()}
        for task, of_task in found.items()
    }


def guessing_results(
    tasks: Sequence[TaskLike],
    train_labels: Mapping[str, Array],
    labels: Mapping[str, Array],
    family: str = "auto",
) -> Results:
    """Return the expected metrics of guessing by the class shares of the training labels.

    Args:
        tasks: What is predicted.
        train_labels: Labels of the training split, by task.
        labels: Labels of the evaluated split, by task.
        family: See `metrics.FAMILIES`.

    Returns:
        Task to metric to value, and ``mean``; without regressions, empty where there are no other
        tasks. A multilabel task has no ``exact_match`` and no ``micro_f1``.

    Raises:
        InvalidInput: A task has no training label.
    """
    found: dict[str, dict[str, Floats]] = {}
    for task in tasks:
        if task.kind != "regression":
            truth = labels[task.name][labelled(task, labels[task.name])]
            found[task.name] = _guessed(task, _present(task, train_labels), truth, family)
    if not found:
        return {}
    found[MEAN] = mean_over_tasks(found)
    return {
        task: {metric: float(values[0]) for metric, values in of_task.items()}
        for task, of_task in found.items()
    }


def _guessed(task: TaskLike, train: Array, truth: Array, family: str) -> dict[str, Floats]:
    pairs = zip(
        views_of(task, train, train, family), views_of(task, truth, truth, family), strict=True
    )
    result: dict[str, Floats] = {"n": np.array([float(len(truth))])}
    guesses = []
    for known, view in pairs:
        trained, counts = known.matrix().sum(-1), view.matrix().sum(-1)  # (1, K)
        shares = trained / trained.sum(-1, keepdims=True)
        found, scores = _expected(counts[0], shares[0])
        guesses.append(found)
        result |= {name: scores[score] for name, score in view.report.items()}
    if task.kind == "multilabel":
        result = _over_classes(task, guesses, result, family) | result
    return result


def _expected(counts: Floats, shares: Floats) -> tuple[PerClass, dict[str, Floats]]:
    """Return expected scores of guessing: each class's, and every name of `SCORES`.

    Args:
        counts: (K,) evaluated samples of each class.
        shares: (K,) how often each class is guessed; their sum is 1.
    """
    number = int(counts.sum())
    said = np.arange(number + 1)
    chances = np.stack([_binomial(number, share) for share in shares.tolist()])  # (K, N + 1)
    support = counts[:, None]
    hits = said * ratio(support, number)
    f1 = (chances * ratio(2 * hits, support + said)).sum(-1)
    found = PerClass(
        precision=(ratio(counts, number) * (1 - chances[:, 0]))[None],
        recall=np.where(counts > 0, shares, 0.0)[None],
        f1=f1[None],
        support=counts[None],
        predicted=(number * shares)[None],
    )
    scores = {"accuracy": ratio([counts @ shares], number, np.nan)}
    kinds: tuple[Average, ...] = ("macro", "weighted")
    for kind in kinds:
        for name in ("precision", "recall", "f1"):
            scores[f"{kind}_{name}"] = average(getattr(found, name), found, kind)
    return found, scores


def _binomial(number: int, share: float) -> Floats:
    """Return the chances of 0 … number hits in as many trials of one share, (number + 1,)."""
    hits = np.arange(number + 1)
    if not 0 < share < 1:
        return (hits == number * share).astype(np.float64)
    # Logarithms of factorials, for the chances themselves leave the range of floats.
    factorials = np.concatenate([[0.0], np.cumsum(np.log(hits[1:]))])
    ways = factorials[-1] - factorials - factorials[::-1]
    chances = np.exp(ways + hits * np.log(share) + (number - hits) * np.log1p(-share))
    return chances / chances.sum()


def _over_classes(
    task: TaskLike, guesses: Sequence[PerClass], each: Mapping[str, Floats], family: str
) -> dict[str, Floats]:
    """Return the means of a multilabel task over its classes, as its family defines them."""

    def mean(score: str) -> Floats:
        return np.mean([each[f"{name}/{score}"] for name in task.classes], axis=0)

    if family_of(task, family) == "iemocap":
        return {score: mean(score) for score in ("accuracy", "weighted_f1", "macro_f1")}
    f1 = np.array([found.f1[0, 1] for found in guesses])
    support = np.array([found.support[0, 1] for found in guesses])
    any_label = np.nan if not each["n"][0] else f1.mean()
    weighted = ratio([(f1 * support).sum()], support.sum(), np.nan)
    return {
        "accuracy": mean("accuracy"),
        "macro_f1": np.array([any_label]),
        "weighted_f1": weighted,
    }


def _per_view(
    task: TaskLike, train: Array, truth: Array, median: Array, family: str
) -> dict[str, Floats]:
    modes = [view.majority() or 0 for view in views_of(task, train, train, family)]
    views = views_of(task, truth, median, family)
    constant = [view.constant(mode) for view, mode in zip(views, modes, strict=True)]
    return score_task(task, truth, median, ones(len(truth)), family, constant)


def _constant(task: TaskLike, train: Array) -> float | tuple[int, ...]:
    if task.kind == "regression":
        return float(np.median(train.astype(np.float32)))
    if task.kind == "multilabel":
        return tuple(int(share > 0.5) for share in train.mean(0))
    return int(np.bincount(train.astype(np.int64), minlength=len(task.classes)).argmax())


def _present(task: TaskLike, labels: Mapping[str, Array]) -> Array:
    truth = labels[task.name]
    kept = truth[labelled(task, truth)]
    if not len(kept):
        raise InvalidInput(
            f"task '{task.name}' has no label in the training split, so no majority is known",
            "leave the task out, or check the split",
        )
    return kept
