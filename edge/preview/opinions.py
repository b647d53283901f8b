"""Has the device's model judge what the page shows, now and then, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from edge.config import Decision
from edge.errors import InspectError
from edge.preview.state import Opinions, opinion_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.classifier import Classifier
    from edge.config import Config
    from edge.guard.guard import Guard
    from edge.preview.board import Board

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Between two looks: a person reads no faster, and the device has time for the picture."""
_TAKE_SECONDS = 0.5
_END_SECONDS = 0.5
"""For a look that was begun to end."""


@contextmanager
def judging(config: Config, guard: Guard | None, board: Board) -> Iterator[None]:
    """Judge within this block. Nothing is raised: what keeps the model from judging stands on the board."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(config, guard, board, stop), name="opinions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_SECONDS)


def _run(config: Config, guard: Guard | None, board: Board, stop: threading.Event) -> None:
    try:
        classifier = _load(config)
        try:
            _judge(classifier, config, guard, board, stop)
        finally:
            classifier.close()
    except InspectError as error:
        board.opinions = Opinions(trouble=str(error))
    except Exception as error:
        board.opinions = Opinions(trouble=f"the model failed: {error!r}")
        log.exception("the model failed")


def _load(config: Config) -> Classifier:
    """Load the model; where a daemon remembers that it was tried is not ours to write."""
    from edge.classifier import Classifier
    from edge.contract import bundle as bundles

    return Classifier(bundles.read(config.bundle, trusted_keys=config.trusted_keys), config.runtime)


def _judge(classifier: Classifier, config: Config, guard: Guard | None, board: Board, stop: threading.Event) -> None:
    from edge.contract.ulid import new_ulid
    from edge.judge import Judge
    from edge.trigger.base import Shot

    alone = Decision(threshold=config.decision.threshold)  # N of M is of parts in a row; here each frame counts.
    judge = Judge(classifier, msgspec.structs.replace(config, decision=alone), new_ulid(), guard)
    named = Opinions(model=f"{classifier.bundle.manifest.name} {classifier.bundle.sha256[:12]}", trouble="")
    board.opinions, number = named, 0
    while not stop.wait(PAUSE_SECONDS if number else 0):
        if (view := board.other(number, _TAKE_SECONDS)) is None:
            continue
        number = view.number
        found = {each.event.region: opinion_of(each.event) for each in judge.judge(Shot("preview", view.frame))}
        board.opinions = msgspec.structs.replace(named, at=view.frame.exposed, by_region=found)
