"""Obeys what was asked of the device, in the judging thread: nothing changes while a frame is judged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from edge import clock
from edge.condition import PAUSED
from edge.contract import messages
from edge.contract.commands import (
    AskHealth,
    AskModel,
    Config,
    History,
    Pause,
    Replay,
    Reply,
    Request,
    Restart,
    Resume,
    Threshold,
)
from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.contract.messages import Health, Model
    from edge.health import Tally
    from edge.judge import Judge
    from edge.ledger.ledger import Ledger
    from edge.publisher import Publisher
    from edge.settings import Settings

log = logging.getLogger(__name__)

NEWEST = 1 << 62


class Commands:
    """What each command does. Refusals are told in the reply; nothing is raised."""

    def __init__(  # noqa: PLR0913 - what commands reach
        self,
        *,
        settings: Settings,
        judge: Judge,
        tally: Tally,
        ledger: Ledger,
        publisher: Publisher,
        health: Callable[[], Health],
        model: Model,
    ) -> None:
        """Take what commands reach; `health` makes a report on the spot."""
        self.paused = False
        self.restart = False
        """Whether the daemon is to end, and to be started anew by its service manager."""
        self._settings = settings
        self._judge = judge
        self._tally = tally
        self._ledger = ledger
        self._publisher = publisher
        self._health = health
        self._model = model

    def tell(self) -> None:
        """Publish the settings as they are."""
        values, boot_id = self._settings.values(), self._publisher.boot_id
        self._publisher.retain("config", messages.Settings(values=values, boot_id=boot_id, time=clock.now()))

    def obey(self, name: str, request: Request) -> Reply:
        """Do what is asked, and return the answer."""
        log.info("command %s, transaction %s", name, request.transaction)
        try:
            data = self._do(request)
        except (ConfigError, OSError) as error:
            return Reply(transaction=request.transaction, status="failed", error=str(error))
        return Reply(transaction=request.transaction, status="ok", data=data)

    def _do(self, request: Request) -> dict[str, Any]:
        match request:
            case Pause() | Resume():
                self.paused = isinstance(request, Pause) and request.on
                self._publisher.report(PAUSED, "paused by command" if self.paused else "")
            case Threshold(value=value):
                return self._change({"decision.threshold": value})
            case Config(set=wishes):
                return self._change(wishes)
            case History():
                return self._history(request)
            case Replay(first=first, last=last):
                self._publisher.replay(first, last)
            case AskHealth():
                return _plain(self._health())
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

    def _history(self, asked: History) -> dict[str, Any]:
        rows = self._ledger.newest(asked.before or NEWEST, asked.limit, asked.verdict)
        return {"events": [msgspec.json.decode(row.json) for row in rows]}


def _plain(message: Health | Model) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return plain
