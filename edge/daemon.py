"""The composition root of the device: opens every stage, runs the loop, closes in order.

Importing this module loads no interpreter, picture library, camera or MQTT client: each stage's module is
imported when the stage opens.
"""

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.alarm import AlarmState
from edge.capture import Capture
from edge.command import RESTART
from edge.commands import Commands, name_of
from edge.condition import STARTING
from edge.contract.commands import Reply
from edge.errors import BrokerError
from edge.health import Tally
from edge.heat import Cooling
from edge.judge import Judge
from edge.lazy import postpone
from edge.ledger.audit import audit_of
from edge.line import End, Line, inspect, report_troubles
from edge.machine import Lookout
from edge.memory import Ceiling, use_one_heap
from edge.outputs import Outputs
from edge.sections.triggers import CommandConfig, GpioConfig
from edge.settings import Settings
from edge.sinks import Sinks, open_sinks
from edge.slots.slots import Slots
from edge.state import state_dir
from edge.stopping import QUICK_SECONDS, StoppedEarlyError, StopSignals
from edge.supervision import Watchdog, notify, notify_status
from edge.threads import fatal, watched
from edge.trigger import open_trigger
from edge.trigger.external import External
from edge.trigger.journal import FILE, Journal
from edge.trigger.unanswered import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.camera.base import Camera
    from edge.classifier import Classifier
    from edge.config import Config
    from edge.guard.guard import Guard
    from edge.trigger.base import Trigger

log = logging.getLogger(__name__)

CAMERA_STOP_SECONDS = 0.8
"""picamera2 takes about 0.4 s by its source."""
LOOKOUT_STOP_SECONDS = 0.1
"""For a look that is going on: a disk or a driver may hold it."""
PATIENT_SECONDS = 30.0
"""For the last verdicts after a camera's last frame: nobody waits, so the broker may take its time."""


def run(config: Config, root: Path = Path("/")) -> int:
    """Inspect until SIGTERM, SIGINT, the camera's last frame (returns 0) or a command to restart (returns RESTART).

    The device's sensors are looked for below `root`. Raises InspectError if a stage cannot open or the camera fails,
    BrokerError if the camera ended but verdicts could not be delivered.
    """
    use_one_heap()
    postpone("urllib.request")  # paho imports it for proxies only: with http and email 1.3 MiB and 7 ms of a start.
    sinks = open_sinks(config)
    settings = Settings(config, state_dir(config))
    end, reason = End.STOPPED, ""
    with watched(), StopSignals() as signals:
        try:
            sinks.publisher.report(STARTING, "starting: the model is being loaded")
            sinks.start()
            signals.break_off()  # Not before: what is closed in the end would not have begun as a whole.
            end = _inspect(settings, sinks, signals, root)
        except StoppedEarlyError:
            pass
        except BaseException as thrown:
            error = fatal(thrown)
            # A signal that breaks into a C extension's import comes out as that import's failure.
            if not signals.stop.is_set():
                reason = str(error) or repr(error)
                if error is not thrown:
                    raise error from thrown
                raise
            log.warning("while stopping: %s", str(error) or repr(error))
        finally:
            signals.only_set()
            notify_status(reason or end)
            notify("STOPPING=1")
            ended = end is End.NO_MORE_FRAMES
            if ended:  # Without this systemd would wait for TimeoutStopSec only.
                notify(f"EXTEND_TIMEOUT_USEC={round((PATIENT_SECONDS + QUICK_SECONDS) * 1e6)}")
            waiting = sinks.close(reason or end, PATIENT_SECONDS if ended else QUICK_SECONDS, signals.stop)
        if waiting:
            log.warning("%d verdicts wait in the ledger for the broker and the next start", waiting)
    if ended and waiting:
        where = f"broker {config.mqtt.host}:{config.mqtt.port}"
        raise BrokerError(f"{waiting} verdicts were not delivered: {where}; the next start delivers them")
    return RESTART if end is End.RESTART else 0


def _inspect(settings: Settings, sinks: Sinks, signals: StopSignals, root: Path) -> End:
    from edge.live.open import shown

    config = settings.config
    on_demand = isinstance(config.trigger, GpioConfig | CommandConfig)
    # First: it opens, slowly or never, while the model loads.
    camera = config.camera
    capture = Capture(_opener(config), reopens=camera.is_live, on_demand=on_demand, silence_s=camera.silence_s)
    line: Line | None = None
    try:
        with ExitStack() as stack:
            line = _open(settings, capture, sinks, stack)
            line.lookout.start(root)
            stack.callback(line.lookout.stop, LOOKOUT_STOP_SECONDS)
            stack.enter_context(shown(line, settings.config))
            stack.enter_context(line.watchdog.watched(line.tell))
            gc.freeze()  # What is there now stays: no collection needs to look through it again.
            gc.enable()
            signals.only_set()
            report_troubles(line)
            sinks.publisher.report(STARTING, "")  # Online is the status from here on, and no moment earlier.
            notify("READY=1")
            return inspect(line, signals.stop)
    finally:
        signals.only_set()
        if not capture.stop(CAMERA_STOP_SECONDS):
            log.error("camera %s did not close within %g s", config.camera.name, CAMERA_STOP_SECONDS)
        if line is not None:
            sinks.publisher.retain("health", line.tally.report())


def _opener(config: Config) -> Callable[[], Camera]:
    from edge.camera import open_camera

    opens = partial(open_camera, config.camera)
    if not config.camera.is_live:
        return opens
    from edge.guard.watched import watch_over

    return watch_over(opens, config)


def _open(settings: Settings, capture: Capture, sinks: Sinks, stack: ExitStack) -> Line:
    """Open all stages but the camera, which opens by itself; `stack` closes them."""
    config, intake = settings.config, sinks.publisher.intake
    journal = _journal(settings, sinks.publisher.boot_id)
    if journal is not None:
        stack.callback(journal.close)
        stack.callback(intake.end)
        if isinstance(config.trigger, CommandConfig):
            intake.note = lambda request: journal.note(name_of(request))
    outputs = Outputs(config.outputs)
    stack.callback(outputs.close)
    slots = stack.enter_context(Slots(config, state_dir(config), partial(sinks.publisher.report, "slots")))
    classifier = _load(slots, sinks)
    stack.callback(classifier.close)
    sinks.publisher.report(STARTING, "starting: the camera is being opened")
    capture.wait_until_open()
    trigger = stack.enter_context(open_trigger(config.trigger, config.camera, capture, journal))
    line = join(classifier, settings, slots=slots, capture=capture, trigger=trigger, sinks=sinks, outputs=outputs)
    unanswered = Unanswered(journal, sinks.ledger) if journal is not None else None
    return msgspec.structs.replace(line, unanswered=unanswered)


def _journal(settings: Settings, boot_id: str) -> Journal | None:
    """Return the journal of triggers, where there are any from outside or an earlier life left some."""
    path = state_dir(settings.config) / FILE
    if not (isinstance(settings.config.trigger, GpioConfig | CommandConfig) or path.exists()):
        return None
    return Journal(path, boot_id)


def _load(slots: Slots, sinks: Sinks) -> Classifier:
    """Return the model that judges; that another one was left for it is recorded among what was asked."""
    classifier = slots.load()
    if slots.decision:
        said = Reply(transaction="", status="failed", error=slots.decision)
        sinks.ledger.record(audit_of("model", said, said.status, sinks.publisher.boot_id))
    return classifier


def join(  # noqa: PLR0913 - the stages
    classifier: Classifier,
    settings: Settings,
    *,
    slots: Slots,
    capture: Capture,
    trigger: Trigger,
    sinks: Sinks,
    outputs: Outputs,
) -> Line:
    """Return the line of these stages, and have the device introduce itself to the broker."""
    from edge import introduction

    config, publisher = settings.config, sinks.publisher
    boot_id = publisher.boot_id
    judge = Judge(classifier, config, boot_id, _guard(config))
    accelerated = classifier.accelerated
    lookout = Lookout(state_dir(config), lambda: accelerated.process if accelerated is not None else None)
    tally = Tally(boot_id, config.health_every_s, lambda: line.counters())  # noqa: PLW0108 - made below
    info, model = introduction.info(config, classifier, boot_id), introduction.model(classifier.bundle, boot_id)
    publisher.retain("info", info)
    publisher.retain("model", model)
    publisher.report("settings", settings.trouble)
    fire = trigger.fire if isinstance(config.trigger, CommandConfig) and isinstance(trigger, External) else None
    commands = Commands(
        settings=settings,
        judge=judge,
        tally=tally,
        publisher=publisher,
        model=model,
        pictures=sinks.evidence is not None,
        fire=fire,
    )
    commands.tell()
    publisher.intake.on_request = trigger.wake
    if fire is not None:
        publisher.intake.fire_by(commands.expect_verdict)
    line = Line(
        capture=capture,
        trigger=trigger,
        unanswered=None,
        accelerated=accelerated,
        info=info,
        model=model,
        judge=judge,
        sinks=sinks,
        alarms=AlarmState(),
        tally=tally,
        watchdog=Watchdog(lambda: line.summary()),  # noqa: PLW0108 - made here
        lookout=lookout,
        cooling=Cooling(),
        outputs=outputs,
        ceiling=Ceiling(config.memory_limit_mib, classifier.accelerated),
        slots=slots,
        commands=commands,
    )
    return line


def _guard(config: Config) -> Guard | None:
    from edge.guard.guard import guard_for

    return guard_for(config, state_dir(config))
