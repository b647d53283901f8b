"""One frame in, one event out: exactly one, whatever the frame is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge import clock
from edge.camera.base import BadFrame
from edge.contract.bundle import Thresholds
from edge.contract.messages import Event, Latency, Verdict
from edge.contract.preprocess import WHOLE_FRAME
from edge.contract.ulid import new_ulid
from edge.decision import NO_MAJORITY, Decision, Smoother, decide, unknown

if TYPE_CHECKING:
    from edge.camera.base import Frame
    from edge.classifier import Classifier, Prediction
    from edge.config import Config
    from edge.config import Decision as DecisionRule
    from edge.trigger.base import Shot

SCORE_DIGITS = 6


class Judge:
    """Turns the frames of one camera into events."""

    def __init__(self, classifier: Classifier, config: Config, boot_id: str) -> None:
        self._classifier = classifier
        self._camera = config.camera
        self._boot_id = boot_id
        self.follow(config.decision)

    def follow(self, rule: DecisionRule) -> None:
        """Decide by this from now on; the frames so far no longer count for N of M."""
        self._smoother = Smoother(rule.votes, rule.window)
        learned = self._classifier.bundle.manifest.thresholds
        threshold = rule.threshold
        self._thresholds = learned if threshold is None else Thresholds(pass_below=threshold, defect_at=threshold)

    def judge(self, shot: Shot) -> Event:
        """Classify and decide; a frame that cannot be judged is UNKNOWN with its reason, never an exception."""
        frame = shot.frame
        started = time.monotonic()
        prediction: Prediction | None = None
        if isinstance(frame, BadFrame):
            decision = unknown(frame.reason)
        else:
            prediction, decision = self._classify(frame)
        if (late := time.monotonic() - shot.deadline) > 0 and not decision.reason:
            decision = unknown(f"the verdict came {late:.3f} s after its deadline")
        return self._event(shot, prediction, decision, started)

    def _classify(self, frame: Frame) -> tuple[Prediction | None, Decision]:
        camera, labels = self._camera, self._classifier.bundle.manifest.labels
        try:
            prediction = self._classifier.classify(
                frame.pixels, order=frame.order, region=camera.region, rotate=camera.rotate
            )
        except (ValueError, RuntimeError) as error:
            return None, unknown(f"the classifier failed: {error}")
        return prediction, decide(prediction.scores.tolist(), labels, self._thresholds)

    def _event(self, shot: Shot, prediction: Prediction | None, decision: Decision, started: float) -> Event:
        bundle, frame = self._classifier.bundle, shot.frame
        verdict = self._smoother.smooth(decision.verdict)
        names = (label.name for label in bundle.manifest.labels)
        # Without a label the scores are no numbers that JSON could carry.
        scores = prediction.scores.tolist() if prediction and decision.label is not None else []
        return Event(
            id=new_ulid(),
            seq=0,  # The ledger numbers it.
            boot_id=self._boot_id,
            time=clock.wall_time(frame.exposed),
            clock_synced=clock.is_synchronized(),
            camera=self._camera.name,
            region="whole" if self._camera.region == WHOLE_FRAME else "region",
            trigger=shot.trigger,
            source=frame.source,
            verdict=verdict,
            frame_verdict=decision.verdict,
            reason=(decision.reason or NO_MAJORITY) if verdict is Verdict.UNKNOWN else "",
            label=decision.label,
            score=None if decision.score is None else round(decision.score, SCORE_DIGITS),
            scores={name: round(score, SCORE_DIGITS) for name, score in zip(names, scores, strict=False)},
            threshold=self._thresholds.defect_at,
            model=bundle.model_sha256,
            latency_ms=_latency(frame, prediction, started),
        )


def _latency(frame: Frame | BadFrame, prediction: Prediction | None, started: float) -> Latency:
    return Latency(
        wait=_ms(started - frame.exposed),
        preprocess=round(prediction.preprocess_ms, 3) if prediction else 0.0,
        invoke=round(prediction.invoke_ms, 3) if prediction else 0.0,
        total=_ms(time.monotonic() - frame.exposed),
    )


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1e3, 3)
