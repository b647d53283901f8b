"""The composition root of the device: opens every stage, runs the loop, closes in order.

Importing this module loads no interpreter, picture library, camera or MQTT client: each stage's module is
imported when the stage opens.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from edge.alarm import AlarmState
from edge.album import Album
from edge.capture import Capture
from edge.commands import Commands
from edge.contract.ulid import new_ulid
from edge.errors import BrokerError
from edge.evidence import Evidence
from edge.health import Tally
from edge.judge import Judge
from edge.lazy import postpone
from edge.record import Record
from edge.settings import Settings
from edge.state import state_dir
from edge.supervision import notify

if TYPE_CHECKING:
    from pathlib import Path

    from edge.album import Picture
    from edge.camera.base import BadFrame, Frame
    from edge.config import Config
    from edge.ledger.ledger import Ledger
    from edge.publisher import Publisher
    from edge.sparkplug.node import Node

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
"""How often a loop without frames looks at the stop flag and the health clock."""
CAMERA_STOP_SECONDS = 0.8
"""picamera2 takes about 0.4 s by its source."""
RESTART = 75
"""Exit code that asks the service manager for a new start (EX_TEMPFAIL of sysexits.h)."""
LAST_SECONDS = 0.2
"""For the Sparkplug node, which leaves at the same time, when the publisher has left."""
PATIENT_SECONDS = 30.0
"""For the last verdicts after a camera's last frame: nobody waits, so the broker may take its time."""


class End(StrEnum):
    """Why the line ends, as its status says."""

    STOPPED = "stopped"
    NO_MORE_FRAMES = "the camera has no more frames"
    RESTART = "restarted by command"


class Sinks(Record, frozen=True, kw_only=True):
    """Where verdicts go."""

    ledger: Ledger
    publisher: Publisher
    evidence: Evidence | None
    sparkplug: Node | None


class Line(Record, frozen=True, kw_only=True):
    """The stages of one inspection line, open and ready."""

    capture: Capture
    judge: Judge
    sinks: Sinks
    alarms: AlarmState
    tally: Tally
    commands: Commands


def run(config: Config) -> int:
    """Inspect until SIGTERM, SIGINT, the camera's last frame (returns 0) or a command to restart (returns RESTART).

    Raises InspectError if a stage cannot open or the camera fails, BrokerError if the camera ended but
    verdicts could not be delivered.
    """
    postpone("urllib.request")  # paho imports it for proxies only: with http and email 1.3 MiB and 7 ms of a start.
    from edge.ledger.ledger import Ledger
    from edge.publisher import QUICK_SECONDS, Publisher

    folder = state_dir(config)
    ledger = Ledger(folder, config.ledger.events_mib << 20)
    album = Album(folder, config.ledger.pictures_mib << 20)
    publisher = Publisher(config, new_ulid(), ledger, album)
    node = _sparkplug(config, ledger, folder)
    sinks = Sinks(ledger=ledger, publisher=publisher, evidence=_evidence(config, album, publisher), sparkplug=node)
    settings = Settings(config, folder)
    end, reason = End.STOPPED, ""
    with _StopSignals() as signals:
        try:
            _start(sinks)
            end = _inspect(settings, sinks, signals)
        except _StoppedEarlyError:
            pass
        except Exception as error:
            # A signal that breaks into a C extension's import comes out as that import's failure.
            if not signals.stop.is_set():
                reason = str(error) or repr(error)
                raise
            log.warning("while stopping: %s", str(error) or repr(error))
        finally:
            signals.only_set()
            notify("STOPPING=1")
            ended = end is End.NO_MORE_FRAMES
            if ended:  # Without this systemd would wait for TimeoutStopSec only.
                notify(f"EXTEND_TIMEOUT_USEC={round((PATIENT_SECONDS + QUICK_SECONDS) * 1e6)}")
            ledger.flush(QUICK_SECONDS)
            patience = PATIENT_SECONDS if ended else QUICK_SECONDS
            if node is not None:
                node.leave(patience)
            publisher.stop(reason or end, patience, signals.stop)
            if node is not None:
                node.stop(LAST_SECONDS)
            waiting = ledger.waiting
            if unwritten := ledger.close(QUICK_SECONDS):
                log.error("%d verdicts were lost: the disk did not take them in time", unwritten)
        if waiting:
            log.warning("%d verdicts wait in the ledger for the broker and the next start", waiting)
    if ended and waiting:
        where = f"broker {config.mqtt.host}:{config.mqtt.port}"
        raise BrokerError(f"{waiting} verdicts were not delivered: {where}; the next start delivers them")
    return RESTART if end is End.RESTART else 0


def inspect(line: Line, stop: threading.Event) -> End:
    """Judge frames until `stop` is set, the camera ends or a command wants it. Feeds the watchdog by frames."""
    while not stop.is_set():
        _obey(line)
        if line.commands.restart:
            return End.RESTART
        frame = line.capture.take(POLL_SECONDS)
        if line.commands.paused:
            notify("WATCHDOG=1")  # Nothing hangs: somebody wants it so, and the status says it.
        elif frame is not None:
            _judge(line, frame)
        if frame is None and line.capture.ended:
            return End.NO_MORE_FRAMES
        line.sinks.publisher.report("ledger", line.sinks.ledger.trouble)
        if line.sinks.sparkplug is not None:
            line.sinks.publisher.report("sparkplug", line.sinks.sparkplug.trouble())
        if line.tally.due:
            line.sinks.publisher.retain("health", line.tally.report(line.capture, line.sinks.ledger))
    return End.STOPPED


def _judge(line: Line, frame: Frame | BadFrame) -> None:
    event, sinks = line.judge.judge(frame), line.sinks
    sinks.ledger.append(event)
    if (alarm := line.alarms.after(event)) is not None:
        sinks.publisher.retain(f"alarm/{event.camera}", alarm)
    if sinks.evidence is not None:
        sinks.evidence.take(event, frame)
    line.tally.count(event)
    notify("WATCHDOG=1")


def _obey(line: Line) -> None:
    requests = line.sinks.publisher.requests
    while not requests.empty():
        name, request = requests.get()
        line.sinks.publisher.reply(name, line.commands.obey(name, request))


def _sparkplug(config: Config, ledger: Ledger, folder: Path) -> Node | None:
    if not config.sparkplug.group_id:
        return None
    from edge.sparkplug.node import Node  # With protobuf 2 MiB and more, for those who want it.

    return Node(config, ledger, folder)


def _start(sinks: Sinks) -> None:
    sinks.publisher.start()
    if sinks.sparkplug is not None:
        sinks.sparkplug.start()

    def on_written(last: int) -> None:
        sinks.publisher.written(last)
        if sinks.sparkplug is not None:
            sinks.sparkplug.written(last)

    sinks.ledger.start(on_written)


def _evidence(config: Config, album: Album, publisher: Publisher) -> Evidence | None:
    if not config.ledger.pictures_mib:
        return None

    def keep(picture: Picture, jpeg: bytes) -> None:
        if album.add(picture, jpeg):
            publisher.pictured(picture)

    return Evidence(keep)


def _inspect(settings: Settings, sinks: Sinks, signals: _StopSignals) -> End:
    from edge.camera import open_camera

    config = settings.config
    capture = Capture(partial(open_camera, config.camera))  # First: it opens, slowly or never, while the model loads.
    line: Line | None = None
    try:
        line = _open(settings, capture, sinks)
        capture.wait_until_open()
        gc.freeze()  # What is there now stays: no collection needs to look through it again.
        gc.enable()
        signals.only_set()
        notify("READY=1")
        return inspect(line, signals.stop)
    finally:
        signals.only_set()
        if not capture.stop(CAMERA_STOP_SECONDS):
            log.error("camera %s did not close within %g s", config.camera.name, CAMERA_STOP_SECONDS)
        if line is not None:
            sinks.publisher.retain("health", line.tally.report(capture, sinks.ledger))


def _open(settings: Settings, capture: Capture, sinks: Sinks) -> Line:
    from edge import introduction
    from edge.classifier import Classifier
    from edge.contract import bundle as bundles

    config, ledger, publisher = settings.config, sinks.ledger, sinks.publisher
    boot_id = publisher.boot_id
    bundle = bundles.read(config.bundle, trusted_keys=config.trusted_keys)
    classifier = Classifier(bundle, config.runtime, state_dir=state_dir(config))
    judge, tally = Judge(classifier, config, boot_id), Tally(boot_id, config.health_every_s)
    model = introduction.model(bundle, boot_id)
    publisher.retain("info", introduction.info(config, classifier, boot_id))
    publisher.retain("model", model)
    publisher.report("settings", settings.trouble)
    commands = Commands(
        settings=settings,
        judge=judge,
        tally=tally,
        ledger=ledger,
        publisher=publisher,
        health=lambda: tally.report(capture, ledger),
        model=model,
    )
    commands.tell()
    return Line(
        capture=capture,
        judge=judge,
        sinks=sinks,
        alarms=AlarmState(),
        tally=tally,
        commands=commands,
    )


class _StoppedEarlyError(BaseException):
    """A stop signal while stages were opening; not an Exception, so that nothing on the way translates it."""


class _StopSignals:
    """SIGTERM and SIGINT: they break off a slow start, and set `stop` once the loop runs."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._asked = False
        self._opening = True
        self._before: dict[int, Any] = {}

    def only_set(self) -> None:
        """From now on a signal only sets `stop`."""
        self._opening = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        # A signal may come while this runs for the one before, inside `set`, whose lock would wait for itself. A
        # parent's end alone sends two: one as its main thread dies, one as its last does.
        if self._asked:
            return
        self._asked = True
        self.stop.set()
        if self._opening:
            self._opening = False
            raise _StoppedEarlyError
