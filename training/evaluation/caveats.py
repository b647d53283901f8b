"""What keeps a report's figures from being trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.evaluation.svg import percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.evaluation.result import Result

_FEW = 30
"""Pictures of a class: with fewer, even a flawless recall may truly be below 90% (0.05^(1/29) = 0.902)."""
_NAMED = 5
_LOST = 0.01
_OFF = 0.05
_LEARNT = 0.1
"""Of the way from chance to flawless, below which a model has learnt next to nothing."""
_ALIKE = 0.95
"""Parts for each picture: a twin or two among many do not change an interval's second digit."""


def caveats(result: Result) -> list[str]:
    """Return a sentence for each, the gravest first."""
    return [*grave(result), *_quantization(result), *_calibration(result), *_few(result)]


def grave(result: Result) -> list[str]:
    """Return those of them that break a promise or make every interval wrong."""
    return [*broken(result), *_guessing(result), *_dependent(result)]


def broken(result: Result) -> list[str]:
    """Return those of them that break a promise."""
    return list(_promise(result))


def _promise(result: Result) -> Iterator[str]:
    promise = result.rule.promise if result.rule else None
    if promise and not promise.shown:
        yield f"{promise.text[0].upper()}{promise.text[1:]}."
    elif promise and result.missed.interval[0] > promise.max_miss:
        yield (
            f"The held-out pictures contradict the promise: {result.missed.hits} of {result.missed.total} "
            f"{'damaged parts' if result.parts < len(result.judged) else 'defects'} were missed. "
            "They are unlike those that the thresholds were chosen on."
        )


def _guessing(result: Result) -> Iterator[str]:
    found, chance = result.metrics["balanced_accuracy"], 1 / len(result.labels)
    if (found - chance) / (1 - chance) < _LEARNT:
        yield (
            f"It hardly does better than guessing: balanced accuracy {percent(found)}, by chance {percent(chance)}. "
            "Look at the pictures (edge-train data check), at their size in the model, and at the recipe."
        )


def _dependent(result: Result) -> Iterator[str]:
    if result.parts < _ALIKE * len(result.judged):
        yield (
            f"The {len(result.judged):,} held-out pictures show only {result.parts:,} parts. Missed defects and false "
            "alarms are counted by part; every other interval takes each picture for another part and is too narrow."
        )


def _quantization(result: Result) -> Iterator[str]:
    before, after = result.metrics["accuracy_float"], result.metrics["accuracy_int8"]
    if after < before - _LOST:
        yield f"Quantization lost {100 * (before - after):.1f} points of accuracy."


def _calibration(result: Result) -> Iterator[str]:
    if result.metrics["ece"] > max(_OFF, 2 * result.metrics["ece_by_chance"]):
        yield f"Scores do not mean what they say: they are off by {percent(result.metrics['ece'])} on average."


def _few(result: Result) -> Iterator[str]:
    counts = [(result.confusion.recall(i).total, label.name) for i, label in enumerate(result.labels)]
    few = sorted(pair for pair in counts if pair[0] < _FEW)
    if few:
        names = ", ".join(f"{name} ({count})" for count, name in few[:_NAMED])
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        yield f"Fewer than {_FEW} held-out pictures of {names}{more}: look at the intervals, not at the figures."
