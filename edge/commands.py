"""Obeys what was asked of the device, in the judging thread: nothing changes while a frame is judged.

What only reads the ledger, `history` and `replay`, the publisher answers: a disk may take its time.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge import clock
from edge.condition import PAUSED
from edge.contract import messages
from edge.contract.commands import (
    AskHealth,
    AskModel,
    Capture,
    Config,
    Pause,
    Reply,
    Request,
    Restart,
    Resume,
    Threshold,
    Trigger,
)
from edge.decision import worst_of
from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.contract.messages import Event, Health, Model
    from edge.health import Tally
    from edge.judge import Judge
    from edge.mqtt.publisher import Publisher
    from edge.settings import Settings

log = logging.getLogger(__name__)

CAPTURE_SECONDS = 10.0
"""For the next frame, before a `capture` is given up."""


class Commands:
    """What each command does. Refusals are told in the reply; nothing is raised."""

    def __init__(  # noqa: PLR0913 - what commands reach
        self,
        *,
        settings: Settings,
        judge: Judge,
        tally: Tally,
        publisher: Publisher,
        model: Model,
        pictures: bool,
        fire: Callable[[str, float], object] | None = None,
    ) -> None:
        """Take what commands reach; `pictures`: whether any are made.

        `fire` a trigger by its name and when it came; None: none may.
        """
        self.paused = False
        self.restart = False
        """Whether the daemon is to end, and to be started anew by its service manager."""
        self.captures: dict[str, float] = {}
        """Transactions of `capture` that wait for a frame, and until when, on the monotonic clock."""
        self._fired: dict[str, str] = {}
        """Transactions of `trigger` that wait for a verdict, by the trigger's name."""
        self._fire = fire
        self._settings = settings
        self._judge = judge
        self._tally = tally
        self._publisher = publisher
        self._model = model
        self._pictures = pictures

    def tell(self) -> None:
        """Publish the settings as they are."""
        values, boot_id = self._settings.values(), self._publisher.boot_id
        self._publisher.retain("config", messages.Settings(values=values, boot_id=boot_id, time=clock.now()))

    def obey(self, name: str, request: Request, came: float) -> Reply | None:
        """Do what is asked, and return the answer; None: `judged` or `given_up` will, it takes a frame.

        `came`: when it was asked, in time.monotonic() seconds.
        """
        try:
            if isinstance(request, Trigger):
                self.expect_verdict(request, came)
                return None
            log.info("command %s, transaction %s", name, request.transaction)
            if isinstance(request, Capture):
                self._expect_frame(request)
                return None
            data = self._do(request)
        except (ConfigError, OSError) as error:
            return Reply(transaction=request.transaction, status="failed", error=str(error))
        return Reply(transaction=request.transaction, status="ok", data=data)

    def judged(self, events: Sequence[Event], *, pictured: bool) -> Iterator[tuple[str, Reply]]:
        """Yield the answers to those who asked for this frame or fired this trigger, with their commands' names.

        They name the worst verdict, and that of each region where there are several.
        """
        event = worst_of(events)
        data: dict[str, Any] = {"event": event.id, "verdict": event.verdict}
        if len(events) > 1:
            data["regions"] = {each.region: each.verdict for each in events}
        if (transaction := self._fired.pop(event.trigger, None)) is not None:
            yield "trigger", Reply(transaction=transaction, status="ok", data=data)
        error = "" if pictured else f"no picture could be made of it: {event.reason or 'others are still being made'}"
        status: Literal["ok", "failed"] = "ok" if pictured else "failed"
        asked, self.captures = self.captures, {}
        for each in asked:
            yield "capture", Reply(transaction=each, status=status, error=error, data=data)

    def given_up(self, now: float) -> list[Reply]:
        """Return the answers to those whom no frame came for."""
        late = [each for each, deadline in self.captures.items() if now >= deadline]
        for each in late:
            del self.captures[each]
        error = f"no frame came within {CAPTURE_SECONDS:g} s"
        return [Reply(transaction=each, status="failed", error=error) for each in late]

    def _expect_frame(self, request: Capture) -> None:
        if not self._pictures:
            raise ConfigError("no pictures are made: ledger.pictures_mib is 0")
        if self.paused:
            raise ConfigError("nothing is judged while the device is paused; resume first")
        self.captures[request.transaction] = time.monotonic() + CAPTURE_SECONDS

    def expect_verdict(self, request: Trigger, came: float) -> None:
        """Fire a trigger that came then; raises ConfigError where none may. One thread at a time, whichever it is."""
        log.info("command trigger, transaction %s", request.transaction)
        if self._fire is None:
            raise ConfigError("this device is not triggered by command: trigger.kind is not mqtt")
        name = name_of(request)
        if name not in self._fired:  # Asked again behind so many others that nobody remembers: one part, one verdict.
            self._fired[name] = request.transaction
            self._fire(name, came)

    def _do(self, request: Request) -> dict[str, Any]:
        match request:
            case Pause() | Resume():
                self.paused = isinstance(request, Pause) and request.on
                self._publisher.report(PAUSED, "paused by command" if self.paused else "")
            case Threshold(value=value):
                return self._change({"decision.threshold": value})
            case Config(set=wishes):
                return self._change(wishes)
            case AskHealth():
                return _plain(self._tally.sum_up())
            case AskModel():
                return _plain(self._model)
            case Restart():
                self.restart = True
        return {}

    def _change(self, wishes: dict[str, Any]) -> dict[str, Any]:
        if wishes:
            self._settings.change(wishes)
            self._judge.follow(self._settings.config.decision)
            self._tally.every = self._settings.config.health_every_s
            self.tell()
        return self._settings.values()


def name_of(request: Trigger) -> str:
    """Return the name of the trigger that is fired by a request."""
    return f"mqtt-{request.transaction}"


def _plain(message: Health | Model) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return plain
