"""Do scores mean what they say, and does the promise about missed defects hold? On held-out data, again and again.

python tests/benchmarks/calibration.py [--seeds 3] [--parts 6000] [--resamples 100]     (NEU-DET: INSPECT_TEST_DATA)

NEU-DET: what the report of a build says. Rendered parts: the demo's bundle judges each of them once; then a random
part of its int8 logits gives temperature and thresholds as a build chooses them, and all the others show the
calibration error and the share of defects that pass. The promise is for 95% of calibration sets, by chance some
resamples of 100 more or less: the share of 2,000 resamples stands beside it. So it is for the bound that a report
states of its test set: see bounds.py.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bounds
import grouped
import limits
import numpy as np
from builds import NEU, build
from grouped import SHOTS
from limits import Line

import edge
from edge.classifier import Classifier, softmax
from edge.contract import bundle as bundles
from edge.contract.bundle import Thresholds
from edge.synthetic import LABELS, render, truth
from training import cache
from training.evaluation import calibrate, statistics, thresholds
from training.evaluation.thresholds import Aim
from training.synthetic import in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from edge.contract.bundle import Label
    from edge.contract.preprocess import Pixels

MOST_OFF = 0.02
LEAST_HELD, MANY = 0.95, 2_000
PROMISES = ((0.01, 800), (0.02, 400), (0.05, 400))
"""--max-miss, and how many pictures choose the rule; about half of them are damaged."""
MISSED = 0.04
"""Of all damaged parts, by the rule that a test set's bound is looked at with."""
SEED, SIDE = 91, 128
"""No set that the bundle was made from has the seed; the bundle looks at the central square."""
DEMO = Path(edge.__file__).parent / "demo_bundle"


class Judged(NamedTuple):
    """What the demo's bundle says of rendered parts."""

    logits: npt.NDArray[np.float32]
    """[n, classes], int8."""
    truth: npt.NDArray[np.int64]
    """Class indices."""
    labels: tuple[Label, ...]

    def take(self, rows: npt.NDArray[np.int64]) -> Judged:
        """Return some of the parts."""
        return Judged(self.logits[rows], self.truth[rows], self.labels)

    @property
    def damaged(self) -> npt.NDArray[np.bool_]:
        """Which parts are defects."""
        return np.array([label.verdict == "DEFECT" for label in self.labels])[self.truth]


def main() -> int:
    """Print the calibration errors and how often each promise held."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 3)
    parser.add_argument("--parts", type=int, default=6_000, metavar="N", help="rendered parts (default 6000)")
    parser.add_argument("--resamples", type=int, default=100, metavar="N", help="sets that are drawn (default 100)")
    parser.add_argument("--shots", type=int, default=400, metavar="N", help="parts with six photographs (default 400)")
    arguments = parser.parse_args()
    parts = judge(arguments.parts)
    lines = [] if not NEU.is_dir() else neu(arguments.seeds)
    for most, count in PROMISES:
        lines += promise(parts, most, min(count, arguments.parts // 2), arguments.resamples)
    lines += stated(parts, arguments.shots, arguments.resamples)
    return limits.show(f"Calibration; {arguments.parts} rendered parts, {arguments.resamples} resamples", lines)


def neu(seeds: int) -> list[Line]:
    """Build on NEU-DET and return what the reports say of their held-out pictures."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(1, seeds + 1):
            built = build(NEU, Path(scratch, str(seed)), "--seed", seed, cache=Path(scratch, "cache"))
            found.append(built.metrics)
            print(f"NEU-DET, seed {seed}: calibration error {built.metrics['ece']:.2%}", flush=True)
    errors, chance = ([one[name] for one in found] for name in ("ece", "ece_by_chance"))
    return [
        _error("NEU-DET: expected calibration error, mean", errors),
        Line("  a perfectly calibrated model by chance", limits.spread(chance)),
    ]


def judge(count: int) -> Judged:
    """Render parts, half of them intact, and classify each; kept in the user's cache for the next run."""
    return _judged(f"{SEED}-{count}", partial(_pixels, SIDE), [truth(SEED, number) for number in range(count)])


def photographed(count: int) -> Judged:
    """Render so many damaged parts, each photographed SHOTS times in a row, and classify each photograph; kept too."""
    names = [grouped.label_of(_damaged(number)) for number in range(count) for _ in range(SHOTS)]
    return _judged(f"shots-{SEED}-{count}", _shot, names)


def _judged(name: str, draw: Callable[[int], Pixels], truths: Sequence[str]) -> Judged:
    """Classify what `draw` gives for each index, or read what an earlier run found under that name."""
    bundle = bundles.read(DEMO)
    model = hashlib.sha256(bundle.files[bundles.MODEL]).hexdigest()[:16]
    path = cache.folder("bench-calibration", f"{model}-{name}.npy")
    if not path.exists():
        classifier = Classifier(bundle)
        pictures = in_parallel(draw, len(truths), f"rendering {len(truths)} pictures")
        logits = np.array([classifier.classify(pixels).logits for pixels in pictures])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, logits)
    labels = bundle.manifest.labels
    index = {label.name: row for row, label in enumerate(labels)}
    assert sorted(index) == sorted(LABELS)
    return Judged(np.load(path), np.array([index[one] for one in truths]), labels)


def _pixels(side: int, index: int) -> Pixels:
    return render(SEED, index, height=side, width=side).pixels


def _shot(index: int) -> Pixels:
    number, shot = divmod(index, SHOTS)
    return grouped.photograph(SEED, _damaged(number), shot).pixels


def _damaged(number: int) -> int:
    """Return the number of a damaged part: of five in a row the first is intact."""
    return number // 4 * 5 + number % 4 + 1


class Resample(NamedTuple):
    """What one calibration set gave, seen on all other parts."""

    error: float
    missed: float
    unknown: float
    shown: bool


def resample(parts: Judged, most: float, count: int, seed: int) -> Resample:
    """Choose temperature and thresholds from `count` parts as a build does, and look at the others."""
    rows = np.random.default_rng(seed).permutation(len(parts.truth))
    seen, rest = parts.take(rows[:count]), parts.take(rows[count:])
    degree = np.float32(calibrate.temperature(seen.logits, seen.truth))
    scores = thresholds.defect_scores(softmax(seen.logits / degree), parts.labels)
    rule = thresholds.choose(scores, seen.damaged, Aim(max_miss=most))
    said = softmax(rest.logits / degree)
    right = said.argmax(axis=1) == rest.truth
    score, limit = thresholds.defect_scores(said, parts.labels), rule.thresholds
    assert rule.promise
    return Resample(
        error=statistics.calibration_error(statistics.reliability(said.max(axis=1).astype(np.float64), right)),
        missed=float((score[rest.damaged] < limit.pass_below).mean()),
        unknown=float(((score >= limit.pass_below) & (score < limit.defect_at)).mean()),
        shown=rule.promise.shown,
    )


def promise(parts: Judged, most: float, count: int, times: int) -> list[Line]:
    """Count on how many resampled sets the share of missed defects stays within the promise."""
    many = [resample(parts, most, count, seed) for seed in range(max(times, MANY))]
    held = [one.missed <= most for one in many]
    first, shown = many[:times], sum(one.shown for one in many[:times])
    name = f"rendered, at most {most:.0%} missed, {count} to calibrate"
    enough = sum(held[:times]) >= LEAST_HELD * times
    return [
        _error(f"{name}: calibration error, mean", [one.error for one in first]),
        Line(
            f"{name}: bound holds", f"{sum(held[:times])} of {times}", f">= {LEAST_HELD * times:.0f} of {times}", enough
        ),
        Line(f"  of {len(many):,} resamples", f"{sum(held) / len(held):.1%}"),
        Line("  missed defects", limits.spread([one.missed for one in first])),
        Line("  left UNKNOWN", limits.spread([one.unknown for one in first])),
        Line("  promise shown by the calibration set", f"{shown} of {times}"),
    ]


def stated(parts: Judged, count: int, times: int) -> list[Line]:
    """Judge by a rule that misses some, and count how often a report's bound holds what is true of all.

    A rule that misses next to nothing would prove nothing: no test set's bound is lower than that.
    """
    alone, shots = parts.take(np.flatnonzero(parts.damaged)), photographed(count)
    scores = thresholds.defect_scores(softmax(alone.logits), parts.labels)
    limit = Thresholds(pass_below=float(np.quantile(scores, MISSED)), defect_at=1.0)
    alone, shots = (
        bounds.judgements(softmax(judged.logits), judged.truth, judged.labels, limit) for judged in (alone, shots)
    )
    part = np.arange(len(shots)) // SHOTS
    return [
        *bounds.lines("bound of a test set", bounds.Pool(parts.labels, alone, np.arange(len(alone))), times),
        *bounds.lines(f"bound, parts with {SHOTS} photographs", bounds.Pool(parts.labels, shots, part), times),
    ]


def _error(name: str, errors: list[float]) -> Line:
    return Line(name, limits.spread(errors), f"<= {MOST_OFF:.0%}", sum(errors) / len(errors) <= MOST_OFF)


if __name__ == "__main__":
    sys.exit(main())
