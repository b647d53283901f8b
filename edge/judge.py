"""One shot in, one event out for each region: exactly one, whatever the frame is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from edge import clock
from edge.camera.base import BadFrame
from edge.contract.bundle import Thresholds
from edge.contract.messages import Event, Latency, Verdict
from edge.contract.ulid import new_ulid
from edge.decision import NO_MAJORITY, Decision, Smoother, decide, unknown
from edge.errors import ConfigError
from edge.guard.fitness import Fitness, Maintenance
from edge.record import Record
from edge.regions import places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.camera.base import Frame
    from edge.classifier import Classifier, Prediction
    from edge.config import Config
    from edge.config import Decision as DecisionRule
    from edge.contract.bundle import Label, Manifest
    from edge.contract.preprocess import Region
    from edge.guard.guard import Guard
    from edge.regions import Place
    from edge.sections.regions import RegionConfig
    from edge.trigger.base import Shot

SCORE_DIGITS = 6


class _Rule(Record, frozen=True):
    """How one region is decided."""

    labels: list[Label]
    thresholds: Thresholds
    smoother: Smoother


class _Seen(Record, frozen=True):
    """What the classifier said of one region, and when it began; None: it could not."""

    started: float
    prediction: Prediction | None
    problem: str = ""


class Judged(Record, frozen=True):
    """A verdict, and the part of the frame that it is about."""

    event: Event
    area: Region


class Judge:
    """Turns the shots of one camera into events."""

    def __init__(self, classifier: Classifier, config: Config, boot_id: str, guard: Guard | None = None) -> None:
        """Judge the configured regions of frames that the guard lets pass, None: of all.

        Raises ConfigError for a class that the bundle does not have.
        """
        self.maintenance = ""
        """What somebody has to see to, so that frames are fit to be judged again; empty: nothing."""
        self._guard = guard
        self._unfit = Maintenance(config.camera.name, config.guard.alarm_after)
        self._classifier = classifier
        self._camera = config.camera
        self._boot_id = boot_id
        self._places = places(config.regions)
        self._labels = labels_by_place(config.regions, classifier.bundle.manifest)
        self.follow(config.decision)

    def follow(self, rule: DecisionRule) -> None:
        """Decide by this from now on; the frames so far no longer count for N of M."""
        self._rules = [
            _Rule(labels, self._thresholds(place, rule), Smoother(rule.votes, rule.window))
            for place, labels in zip(self._places, self._labels, strict=True)
        ]

    def judge(self, shot: Shot) -> list[Judged]:
        """Classify and decide; a frame that cannot be judged is UNKNOWN with its reason, never an exception.

        Of a shot that needs no verdict where there is no part, and shows none, there is none.
        """
        fitness = self._inspect(shot.frame)
        if fitness.idle and shot.is_optional:
            return []
        seen: dict[Region, _Seen] = {}
        found = []
        for place, rule in zip(self._places, self._rules, strict=True):
            area = fitness.follow(place.area)
            if area not in seen:  # Regions that differ by their rule only share what the model says.
                seen[area] = self._look(shot.frame, area, fitness.reason or _overdue(shot))
            decision = _decide(seen[area], rule, shot)
            found.append(Judged(self._event(shot, place, rule, seen[area], decision), area))
        return found

    def _inspect(self, frame: Frame | BadFrame) -> Fitness:
        if self._guard is None or isinstance(frame, BadFrame):
            return Fitness()
        fitness = self._guard.inspect(frame)
        self.maintenance = self._unfit.after(fitness)
        return fitness

    def _thresholds(self, place: Place, rule: DecisionRule) -> Thresholds:
        threshold = place.threshold if place.threshold is not None else rule.threshold
        if threshold is None:
            return self._classifier.bundle.manifest.thresholds
        return Thresholds(pass_below=threshold, defect_at=threshold)

    def _look(self, frame: Frame | BadFrame, area: Region, unfit: str) -> _Seen:
        started = time.monotonic()
        if isinstance(frame, BadFrame):
            return _Seen(started, None, frame.reason)
        if unfit:
            return _Seen(started, None, unfit)
        try:
            prediction = self._classifier.classify(
                frame.pixels, order=frame.order, region=area, rotate=self._camera.rotate
            )
        except (ValueError, RuntimeError) as error:
            return _Seen(started, None, f"the classifier failed: {error}")
        return _Seen(started, prediction)

    def _event(self, shot: Shot, place: Place, rule: _Rule, seen: _Seen, decision: Decision) -> Event:
        bundle, frame, prediction = self._classifier.bundle, shot.frame, seen.prediction
        verdict = rule.smoother.smooth(decision.verdict)
        if decision.label is None and verdict is Verdict.PASS:  # Others' votes pass no part that nobody could judge.
            verdict = Verdict.UNKNOWN
        # Without a label the scores are no numbers that JSON could carry.
        scores = prediction.scores.tolist() if prediction and decision.label is not None else []
        names = (label.name for label in rule.labels)
        return Event(
            id=new_ulid(),
            seq=0,  # The ledger numbers it.
            boot_id=shot.boot_id or self._boot_id,
            time=clock.wall_time(frame.exposed),
            clock_synced=clock.is_synchronized(),
            camera=self._camera.name,
            region=place.name,
            trigger=shot.trigger,
            source=frame.source,
            verdict=verdict,
            frame_verdict=decision.verdict,
            reason=(decision.reason or NO_MAJORITY) if verdict is Verdict.UNKNOWN else "",
            label=decision.label,
            score=None if decision.score is None else round(decision.score, SCORE_DIGITS),
            scores={name: round(score, SCORE_DIGITS) for name, score in zip(names, scores, strict=False)},
            threshold=rule.thresholds.defect_at,
            model=bundle.model_sha256,
            latency_ms=_latency(frame, seen),
        )


def labels_by_place(regions: Sequence[RegionConfig], manifest: Manifest) -> list[list[Label]]:
    """Return the bundle's labels as they count in each region; raises ConfigError for one that it does not have."""
    return [_labels(place, manifest) for place in places(regions)]


def _labels(place: Place, manifest: Manifest) -> list[Label]:
    """Return the bundle's labels as they count in a region."""
    if strange := set(place.labels) - {label.name for label in manifest.labels}:
        known = ", ".join(label.name for label in manifest.labels)
        raise ConfigError(f"regions: {place.name}.labels names {min(strange)!r}; the bundle has: {known}")
    found = [
        msgspec.structs.replace(label, verdict=place.labels.get(label.name, label.verdict)) for label in manifest.labels
    ]
    if place.labels and all(label.verdict == "PASS" for label in found):
        raise ConfigError(f"regions: {place.name}.labels leaves no class that is a DEFECT; every part would pass")
    return found


def _decide(seen: _Seen, rule: _Rule, shot: Shot) -> Decision:
    if seen.prediction is None:
        return unknown(seen.problem)
    decision = decide(seen.prediction.scores.tolist(), rule.labels, rule.thresholds)
    late = time.monotonic() - shot.deadline
    return unknown(f"the verdict came {late:.3f} s after its deadline") if late > 0 else decision


def _overdue(shot: Shot) -> str:
    """Say why a shot is not worth classifying any more: the time is for those that are still to be in time."""
    late = time.monotonic() - shot.deadline
    return f"its deadline passed {late:.3f} s before it could be judged" if late > 0 else ""


def _latency(frame: Frame | BadFrame, seen: _Seen) -> Latency:
    prediction = seen.prediction
    return Latency(
        wait=_ms(seen.started - frame.exposed),
        preprocess=round(prediction.preprocess_ms, 3) if prediction else 0.0,
        invoke=round(prediction.invoke_ms, 3) if prediction else 0.0,
        total=_ms(time.monotonic() - frame.exposed),
    )


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1e3, 3)
