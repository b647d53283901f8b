"""The inspection line: one trigger after the other becomes its verdicts, and what is asked of the device is obeyed.

Nothing here waits for a disk or a broker.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING

from edge.decision import worst_of
from edge.ledger.audit import audit_of
from edge.record import Record
from edge.trigger.external import External

if TYPE_CHECKING:
    import threading

    from edge.accelerator.accelerated import Accelerated
    from edge.alarm import AlarmState
    from edge.capture import Capture
    from edge.commands import Commands
    from edge.contract.commands import Reply
    from edge.contract.messages import Info, Model
    from edge.health import Counters, Tally
    from edge.heat import Cooling
    from edge.judge import Judge
    from edge.machine import Lookout
    from edge.memory import Ceiling
    from edge.outputs import Outputs
    from edge.sinks import Sinks
    from edge.slots.slots import Slots
    from edge.supervision import Watchdog
    from edge.trigger.base import Shot, Trigger
    from edge.trigger.unanswered import Unanswered

POLL_SECONDS = 0.1
"""How often a loop without frames looks at the stop flag and the health clock."""
KEPT_SECONDS = 0.005
"""The same while somebody waits for a verdict to be on the disk."""
LAST_SECONDS = 0.3
"""For the last verdicts to be on the disk, so that whoever waits for them is told before the end."""


class End(StrEnum):
    """Why the line ends, as its status says."""

    STOPPED = "stopped"
    NO_MORE_FRAMES = "the camera has no more frames"
    RESTART = "restarted by command"


class Line(Record, frozen=True, kw_only=True):
    """The stages of one inspection line, open and ready."""

    capture: Capture
    trigger: Trigger
    unanswered: Unanswered | None
    """None: nothing triggers from outside, nor did in an earlier life."""
    accelerated: Accelerated | None
    """None: the CPU judges, and is to."""
    info: Info
    model: Model
    judge: Judge
    sinks: Sinks
    alarms: AlarmState
    tally: Tally
    watchdog: Watchdog
    lookout: Lookout
    cooling: Cooling
    ceiling: Ceiling
    slots: Slots
    outputs: Outputs
    commands: Commands

    def counters(self) -> Counters:
        """Return what the stages count themselves. Any thread may ask."""
        trigger, sinks = self.trigger, self.sinks
        fired, refused = (trigger.waiting, trigger.refused) if isinstance(trigger, External) else (0, 0)
        return {
            "frames_captured": self.capture.captured,
            "frames_dropped": self.capture.dropped,
            "camera_failures": self.capture.failures,
            "triggers_waiting": fired,
            "triggers_refused": refused,
            "switches_late": self.outputs.late,
            "verdicts_unwritten": sinks.ledger.unwritten,
            "messages_waiting": sinks.ledger.waiting,
            "messages_lost": sinks.ledger.lost,
            "notes_waiting": sinks.publisher.unheard,
            "pictures_waiting": sinks.album.count_waiting,
            "pictures_lost": sinks.album.lost + (sinks.evidence.skipped if sinks.evidence else 0),
            "commands_overlooked": sinks.publisher.intake.overlooked,
            "commands_refused": sinks.publisher.intake.refused,
            "connections_failed": sinks.publisher.link.failed,
            "judging_share": self.lookout.share,
            "machine": self.lookout.machine,
            "accelerator": self.accelerated.health() if self.accelerated is not None else None,
        }

    def summary(self) -> str:
        """Return in a line how the device fares, for `systemctl status`."""
        status = self.sinks.publisher.condition.present()
        said = f"{status.state}{', paused' if status.paused else ''}, {self.tally.frames} frames judged"
        return f"{said}: {status.reason}" if status.reason else said

    def tell(self, problem: str) -> None:
        """Say that it hangs, empty: it goes on, and let no part by meanwhile. Any thread may."""
        self.sinks.publisher.report("line", problem)
        if problem:
            self.outputs.rest()


def inspect(line: Line, stop: threading.Event) -> End:
    """Judge until `stop` is set, the camera ends or a command wants it. Feeds the watchdog at each turn."""
    try:
        while not stop.is_set():
            if (end := _step(line)) is not None:
                return end
        return End.STOPPED
    finally:
        line.sinks.publisher.intake.end()
        _obey(line)  # Who was heard before and triggers by command has a verdict too.
        for shot in line.trigger.give_up("the device stopped"):
            _judge(line, shot)
        if line.unanswered is not None and line.unanswered.waiting:
            line.sinks.ledger.flush(LAST_SECONDS)
            _settle(line, line.unanswered)


def _step(line: Line) -> End | None:
    _obey(line)
    if line.commands.restart:
        return End.RESTART
    if line.commands.paused:
        line.outputs.rest()
        if (shot := line.trigger.leave(POLL_SECONDS)) is not None:
            _judge(line, shot)
    elif (shot := _next(line)) is not None:
        began = time.monotonic()
        _judge(line, shot)
        line.cooling.judged(began, time.monotonic(), line.lookout.share)
    if line.trigger.ended:
        return End.NO_MORE_FRAMES
    if line.unanswered is not None:
        _answer_left(line, line.unanswered)
    report_troubles(line)
    line.slots.tend()
    line.ceiling.check()
    line.watchdog.feed()  # Only where camera, model, ledger and publisher have raised nothing and held nothing up.
    if line.tally.due:
        line.sinks.publisher.retain("health", line.tally.report())
    return None


def report_troubles(line: Line) -> None:
    """Have the status say what is wrong with each stage; raises what ended one of their threads."""
    report = line.sinks.publisher.report
    report("camera", line.capture.missing or line.judge.maintenance)
    report("outputs", line.outputs.check())
    if line.accelerated is not None:
        report("accelerator", line.accelerated.trouble)
    if line.unanswered is not None:
        report("triggers", line.unanswered.trouble)
    report("heat", line.lookout.trouble)
    line.sinks.report_trouble()


def _next(line: Line) -> Shot | None:
    """Return what is to be judged now, if anything: in a rest only what cannot wait for its end."""
    patience = _patience(line)
    if (left := line.cooling.left(time.monotonic())) > 0:
        return line.trigger.rest(min(left, patience))
    return line.trigger.next(patience)


def _patience(line: Line) -> float:
    return KEPT_SECONDS if line.unanswered is not None and line.unanswered.waiting else POLL_SECONDS


def _answer_left(line: Line, unanswered: Unanswered) -> None:
    """Let go of triggers that have their verdicts, and give those of a life that was killed theirs."""
    _settle(line, unanswered)
    left = unanswered.take_left()
    for each in unanswered.without_known([judged for shot in left for judged in line.judge.judge(shot)]):
        line.sinks.ledger.append(each.event)
    for shot in left:
        unanswered.judged(shot)


def _settle(line: Line, unanswered: Unanswered) -> None:
    for name, reply in unanswered.settle():
        _answer(line, name, reply)


def _judge(line: Line, shot: Shot) -> None:
    judged, sinks = line.judge.judge(shot), line.sinks
    if not judged:
        return
    events = [each.event for each in judged]
    line.outputs.show(worst_of(events).verdict, shot.frame.exposed)  # First: a gate may be near.
    for event in events:
        sinks.ledger.append(event)
    if (alarm := line.alarms.after(events)) is not None:
        sinks.publisher.retain(f"alarm/{events[0].camera}", alarm)
    asked = bool(line.commands.captures)
    evidence = sinks.evidence
    pictured = [evidence is not None and evidence.take(each, shot.frame, asked=asked) for each in judged]
    answers = list(line.commands.judged(events, pictured=all(pictured)))
    line.tally.count(events)
    line.slots.judged(events)
    if line.unanswered is not None and isinstance(line.trigger, External):
        line.unanswered.judged(shot, answers)
    else:
        for name, reply in answers:
            _answer(line, name, reply)


def _obey(line: Line) -> None:
    requests = line.sinks.publisher.intake.requests
    while not requests.empty():
        name, request, came = requests.get()
        if (reply := line.commands.obey(name, request, came)) is not None:
            _answer(line, name, reply)
    for reply in line.commands.given_up(time.monotonic()):
        _answer(line, "capture", reply)


def _answer(line: Line, name: str, reply: Reply) -> None:
    line.sinks.ledger.record(audit_of(name, reply, reply.status, line.sinks.publisher.boot_id))
    line.sinks.publisher.reply(name, reply)
