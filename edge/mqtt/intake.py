"""What is asked of the device over MQTT: looked at, answered here or handed on, and recorded. Used by one thread."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

from edge.contract.commands import COMMANDS, History, Replay, Reply, Request, Trigger
from edge.ledger.audit import audit_of, unheard
from edge.mqtt.admission import Admission, Overlooked, Refused, Repeated
from edge.mqtt.history import Histories

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edge.ledger.audit import Outcome
    from edge.ledger.ledger import Ledger
    from edge.mqtt.connection import Asked
    from edge.mqtt.outbox import Outbox

log = logging.getLogger(__name__)


class Intake:
    """Between the link and whoever obeys: `history` and `replay` are answered here, for they only read the ledger."""

    def __init__(self, allowed: Collection[str], boot_id: str, ledger: Ledger, outbox: Outbox) -> None:
        """Take in the commands that are allowed, by their names."""
        self.requests: SimpleQueue[tuple[str, Request, float]] = SimpleQueue()
        """What may be obeyed: name, request, and when it came, on the monotonic clock; each wants an answer."""
        self.on_request: Callable[[], None] = lambda: None
        """Called when there is one."""
        self.note: Callable[[Trigger], object] | None = None
        """Hears of a trigger that is handed on: whoever would fire it may end before. None: nobody keeps them."""
        self._fire: Callable[[Trigger, float], object] | None = None
        """None: a trigger is handed on as any other."""
        self._is_over = False
        """Whether nobody obeys any more: who asks is told so."""
        self._turn = threading.Lock()
        """Held while a request is taken in, and while either of them changes: none falls between."""
        self.overlooked = 0
        """Requests that were not even looked at: there were too many."""
        self.refused = 0
        """Requests that were looked at and not obeyed."""
        self._admission = Admission(allowed)
        self._boot_id = boot_id
        self._histories = Histories(ledger)
        self._ledger = ledger
        self._outbox = outbox

    @property
    def busy(self) -> bool:
        """Whether there is something for `step` to do."""
        return self._histories.waiting

    def step(self) -> None:
        """Look at one more page of the ledger for the first question that waits, if there is one."""
        if self._histories.waiting and (reply := self._histories.step()) is not None:
            self._conclude("history", reply)

    def answer(self, name: str, reply: Reply) -> None:
        """Answer a request that was obeyed."""
        self._admission.remember(name, reply)
        self._outbox.reply(f"reply/{name}", reply)

    def consider(self, asked: Asked) -> None:
        """Take in what came on a topic of commands."""
        if asked.unheard:
            self.overlooked += asked.unheard
            self._ledger.record(unheard(asked.unheard, self._boot_id))
        found = self._admission.look(asked, time.monotonic())
        match found:
            case History() | Replay() if not self._is_over:
                self._look_up(asked.name, found)
            case Request():
                with self._turn:
                    self._hand_on(asked.name, found, asked.came)
            case Refused(reply):
                self.refused += 1
                log.warning("command %.60r refused: %s", asked.name, reply.error)
                self._answer_unobeyed(asked.name, reply, "refused")
            case Repeated(reply):
                self._answer_unobeyed(asked.name, reply, "repeated")
            case Overlooked():
                self.overlooked += 1
                self._answer_unobeyed(asked.name, None, "overlooked")

    def fire_by(self, fire: Callable[[Trigger, float], object]) -> None:
        """Have triggers, with when they came, go to `fire` at once; those that wait to be obeyed, by nobody yet, first.

        Thus none waits for a verdict that is being given, or hangs.
        """
        with self._turn:
            for name, request, came in [self.requests.get() for _ in range(self.requests.qsize())]:
                if isinstance(request, Trigger):
                    fire(request, came)
                else:
                    self.requests.put((name, request, came))
            self._fire = fire

    def end(self) -> None:
        """Tell who asks from now on that nobody obeys any more."""
        with self._turn:
            self._is_over = True

    def close(self) -> None:
        """Refuse what waits, too: a start was broken off, and nobody will obey. What is kept will have a verdict."""
        self.end()
        for name, request, _ in [self.requests.get() for _ in range(self.requests.qsize())]:
            if self.note is None or not isinstance(request, Trigger):
                self._refuse(name, request)

    def _hand_on(self, name: str, request: Request, came: float) -> None:
        if self._is_over:
            self._refuse(name, request)
        elif isinstance(request, Trigger) and self._fire is not None:
            self._fire(request, came)
        else:
            if isinstance(request, Trigger) and self.note is not None:
                self.note(request)
            self.requests.put((name, request, came))
            self.on_request()

    def _look_up(self, name: str, request: History | Replay) -> None:
        log.info("command %s, transaction %s", name, request.transaction)
        if isinstance(request, History):
            refused = self._histories.put(request)
        else:
            refused = self._outbox.replays.put(request.first, request.last)
        if refused or isinstance(request, Replay):
            status: Literal["ok", "failed"] = "failed" if refused else "ok"
            self._conclude(name, Reply(transaction=request.transaction, status=status, error=refused))

    def _refuse(self, name: str, request: Request) -> None:
        self.refused += 1
        error = "the device is stopping; ask again when it is online"
        self._conclude(name, Reply(transaction=request.transaction, status="refused", error=error))

    def _conclude(self, name: str, reply: Reply) -> None:
        self._admission.remember(name, reply)
        self._answer_unobeyed(name, reply, reply.status)

    def _answer_unobeyed(self, name: str, reply: Reply | None, outcome: Outcome) -> None:
        """Give a request that nobody else obeys its answer, if it gets one, and have it recorded."""
        self._ledger.record(audit_of(name, reply, outcome, self._boot_id))
        if reply is not None and name in COMMANDS:
            self._outbox.reply(f"reply/{name}", reply)
