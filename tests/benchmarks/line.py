"""The daemon's own loop over frames that are already in memory, against the bare interpreter, in one process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edge import config as configs
from edge.album import Album
from edge.camera.base import Frame
from edge.capture import Capture
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.preprocess import preprocess
from edge.contract.ulid import new_ulid
from edge.daemon import join
from edge.errors import BrokerError
from edge.ledger.ledger import Ledger
from edge.ledger.retention import Retention
from edge.line import inspect
from edge.mqtt.discovery import Discovery
from edge.mqtt.publisher import Publisher
from edge.outputs import Outputs
from edge.runtime import open_interpreter
from edge.settings import Settings
from edge.sinks import Sinks
from edge.slots.slots import Slots
from edge.trigger.free import FreeRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.classifier import Prediction
    from edge.config import Config
    from edge.contract.preprocess import Pixels

PATIENCE_SECONDS = 10.0


class Repeating:
    """A camera that shows one picture: `count` times as fast as it is taken, or `rate` times a second."""

    def __init__(self, pixels: Pixels, count: int, rate: float = 0.0) -> None:
        self.keeps_pace = rate == 0
        self.live = False
        self._pixels, self._count, self._rate = pixels, count, rate
        self.cpu = 0.0
        """CPU seconds of the thread that read all frames."""
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Yield the picture."""
        begun = time.monotonic()
        for number in range(1, self._count + 1):
            if self._rate and self._closed.wait(max(0.0, begun + number / self._rate - time.monotonic())):
                return
            yield Frame(number, str(number), time.monotonic(), self._pixels)
        self.cpu = time.thread_time()

    def close(self) -> None:
        """End a wait."""
        self._closed.set()


class Timed(Classifier):
    """A classifier that sums up the CPU seconds it takes."""

    cpu = 0.0

    def classify(self, *arguments: Any, **options: Any) -> Prediction:
        """Classify."""
        begun = time.thread_time()
        prediction = super().classify(*arguments, **options)
        self.cpu += time.thread_time() - begun
        return prediction


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: frames judged, how many a second, CPU ms a frame by thread, and what was left to deliver then."""

    judged: int
    fps: float
    cpu_ms: dict[str, float]
    tail_s: float = 0.0
    """From the last frame's verdict until the broker had acknowledged all: short, where delivery keeps pace."""


class Bench:
    """One bundle's line, and the same model bare."""

    def __init__(self, bundle: Path, port: int) -> None:
        table = {
            "bundle": str(bundle),
            "camera": {"kind": "synthetic"},
            "device": {"site": "bench", "id": "line"},
            "mqtt": {"host": "127.0.0.1", "port": port},
        }
        self.config: Config = configs.parse(table, Path("bench.toml"))
        self._bundle = bundles.read(bundle)
        self._classifier = Timed(self._bundle, self.config.runtime)
        self._bare = open_interpreter(self._bundle.model, self.config.runtime).interpreter
        self._input = self._bare.get_input_details()[0]["index"]
        self._output = self._bare.get_output_details()[-1]["index"]

    @property
    def input_size(self) -> tuple[int, int]:
        """The model's (height, width)."""
        return self._classifier.input_size

    def bare(self, pixels: Pixels, count: int) -> Measured:
        """Run set_tensor, invoke and get_tensor; a frame of another size is resized by the same call as always."""
        height, width = self.input_size
        resize = pixels.shape[:2] != (height, width)
        ready = np.zeros((1, height, width, 3), np.int8)
        cpu, started = time.thread_time(), time.perf_counter()
        for _ in range(count):
            if resize:
                self.preprocess(pixels)
            self._bare.set_tensor(self._input, ready)
            self._bare.invoke()
            self._bare.get_tensor(self._output)
        seconds = time.perf_counter() - started
        return Measured(count, count / seconds, {"bare": (time.thread_time() - cpu) * 1e3 / count})

    def preprocess(self, pixels: Pixels) -> Pixels:
        """Call the function that the device calls."""
        height, width = self.input_size
        return preprocess(pixels, self._bundle.manifest.preprocess, height=height, width=width)

    def daemon(self, pixels: Pixels, count: int, rate: float = 0.0) -> Measured:
        """Run the daemon's loop until the broker has acknowledged every verdict."""
        camera = Repeating(pixels, count, rate)
        self._classifier.cpu = 0.0
        with self._sinks() as (settings, sinks):
            capture = Capture(lambda: camera)
            slots = Slots(settings.config, settings._path.parent, partial(sinks.publisher.report, "slots"))
            slots._judging = self._bundle
            trigger = FreeRunning(capture)
            line = join(
                self._classifier,
                settings,
                slots=slots,
                capture=capture,
                trigger=trigger,
                sinks=sinks,
                outputs=Outputs(()),
            )
            cpu, started = _cpu(), time.perf_counter()
            inspect(line, threading.Event())
            seconds, judge = time.perf_counter() - started, _cpu()["judge"]
            _wait(lambda: sinks.publisher._outbox.is_empty)
            tail = time.perf_counter() - started - seconds
            spent = {name: after - cpu[name] for name, after in (_cpu() | {"judge": judge}).items()}
            spent |= {"classify": self._classifier.cpu, "capture": camera.cpu}
            line.capture.stop(1.0)
        # A camera at its own rate loses frames on a machine too busy for them.
        judged = count - line.capture.dropped
        return Measured(judged, judged / seconds, {name: s * 1e3 / judged for name, s in spent.items()}, tail)

    @contextmanager
    def _sinks(self) -> Iterator[tuple[Settings, Sinks]]:
        """Open what verdicts go to, as the daemon does, but for pictures: nobody looks at a hundred a second."""
        with TemporaryDirectory() as place:
            folder = Path(place)
            ledger, album = Ledger(folder, self.config.ledger.events_mib << 20, Retention(30)), Album(folder, 0)
            boot_id = new_ulid()
            discovery = Discovery(self.config, folder, boot_id)
            publisher = Publisher(self.config, boot_id, ledger, album, discovery)
            publisher.start()
            ledger.start(publisher.written)
            _wait(lambda: publisher.link.connected is True)
            try:
                yield (
                    Settings(self.config, folder),
                    Sinks(ledger=ledger, publisher=publisher, album=album, evidence=None, sparkplug=None),
                )
            finally:
                publisher.stop("measured", PATIENCE_SECONDS, threading.Event())
                ledger.close(PATIENCE_SECONDS)


def _cpu() -> dict[str, float]:
    """CPU seconds so far of the thread that judges (this one) and of those that keep and publish verdicts."""
    names = ("mqtt", "paho", "ledger")
    publishing = [each.ident for each in threading.enumerate() if each.name.startswith(names) and each.ident]
    publish = sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in publishing)
    return {"judge": time.thread_time(), "publish": publish}


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BrokerError(f"the benchmark's broker did not answer within {PATIENCE_SECONDS:g} s")
        time.sleep(0.0005)
