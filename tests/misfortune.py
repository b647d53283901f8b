"""What befalls a device in a factory: faults that begin and end, for tests."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from accelerators import children
from spark_host import until

from edge.ledger.ledger import FILE
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerators import Standin
    from proxy import Proxy
    from remote_pi import RemotePi
    from service import Service

DECADE = 10 * 365 * 86_400


class Said(NamedTuple):
    """What the device said since a moment."""

    events: list[dict[str, Any]]
    log: str


class Fault(Record, frozen=True):
    """One kind: how it begins, how the device shows that it met it, and how it ends."""

    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    cuts_off: bool = False
    """Whether a request that is on its way may be lost with it: the process ends, or its connection."""
    met: Callable[[Said], bool] = lambda _: True
    """What begins in any case needs no sign."""
    needs_accelerator: bool = False
    """Whether it would do nothing while the accelerator is left alone."""


class Factory:
    """A device, and what may befall it."""

    def __init__(self, *, service: Service, pi: RemotePi, network: Proxy, standin: Standin, disk: Path) -> None:
        self._service = service
        self._pi = pi
        self._network = network
        self._standin = standin
        self._hog = disk / "hog"
        self._ledger = disk / "state" / FILE

    def faults(self) -> dict[str, Fault]:
        """Return each kind by its name."""
        return self._of_the_camera() | self._of_the_accelerator() | self._of_the_process() | self._of_the_rest()

    def _of_the_camera(self) -> dict[str, Fault]:
        pairs = {"unplug": "plug", "freeze": "thaw", "cover": "uncover"}
        faults = {name: Fault(self._doing(name), self._doing(end), met=_unknown) for name, end in pairs.items()}
        faults["another size"] = Fault(self._doing("shrink", "unplug"), self._doing("grow", "plug"), met=_unknown)
        faults["a camera that jams"] = Fault(self._ending(self._doing("jam", "unplug")), cuts_off=True)
        return faults

    def _of_the_accelerator(self) -> dict[str, Fault]:
        loads = ("no-device", "crash-load", "hang-load", "refuse-model", "wrong")
        invokes = ("crash-invoke 9", "hang-invoke 9", "fail-invoke 9")
        blows = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
        begins = {name: self._behaving(name, strike=name in loads) for name in (*loads, *invokes)}
        begins |= {f"{each.name} for the accelerator": self._striking(each) for each in blows}
        works = self._behaving("works")
        return {name: Fault(begin, works, met=_cpu_judges, needs_accelerator=True) for name, begin in begins.items()}

    def _of_the_process(self) -> dict[str, Fault]:
        names = ("capture", "ledger", "mqtt-sender", "mqtt-connection", "accelerator")
        faults = {f"the end of {name}": Fault(self._killing(name, self._starts), cuts_off=True) for name in names}
        faults["the end of paho"] = Fault(self._killing("paho-mqtt-client", lambda: self._network.links), cuts_off=True)
        faults["kill -9"] = Fault(self._ending(lambda: self._service.send(signal.SIGKILL)), cuts_off=True)
        stop, go_on = (lambda: self._service.send(signal.SIGSTOP)), (lambda: self._service.send(signal.SIGCONT))
        faults["SIGSTOP"] = Fault(stop, go_on)
        return faults

    def _of_the_rest(self) -> dict[str, Fault]:
        clocks = {"ahead": DECADE, "back": -DECADE}
        faults = {
            f"a clock ten years {way}": Fault(self._doing(f"jump {by}"), self._doing("jump 0"), met=_another_year)
            for way, by in clocks.items()
        }
        return faults | {
            "a full disk": Fault(self._fill, self._hog.unlink, met=self._gave_way),
            "a cut network": Fault(self._network.cut, cuts_off=True),
            "a silent network": Fault(self._network.hang, self._network.cut, cuts_off=True),
            "unplug, on a full disk": Fault(
                _together(self._fill, self._doing("unplug")),
                _together(self._hog.unlink, self._doing("plug")),
                met=lambda said: self._gave_way(said) and _unknown(said),
            ),
            "a hang, without a network": Fault(
                _together(lambda: self._network.hang(down=False), self._behaving("hang-invoke 9")),
                _together(self._network.cut, self._behaving("works")),
                cuts_off=True,
                met=_cpu_judges,
                needs_accelerator=True,
            ),
        }

    def _doing(self, *verbs: str) -> Callable[[], None]:
        def do() -> None:
            for verb in verbs:
                until(lambda verb=verb: self._does(verb), 30)  # type: ignore[misc]

        return do

    def _starts(self) -> int:
        return len(self._service.codes)

    def _ending(self, act: Callable[[], None]) -> Callable[[], None]:
        """Do something, and wait for the process's end that comes of it."""

        def do() -> None:
            before = self._starts()
            act()
            until(lambda: self._starts() > before, 30)

        return do

    def _killing(self, name: str, count: Callable[[], int]) -> Callable[[], None]:
        """End a thread, and wait until what comes of it is counted; what Python ignored is done once more."""

        def do() -> None:
            before = count()
            deadline = time.monotonic() + 30
            while count() == before:
                assert time.monotonic() < deadline, f"the thread {name} does not end"
                self._does(f"kill {name}")
                with suppress(AssertionError):  # Not again at once: it would befall what tells of its end.
                    until(lambda: count() > before, 3)

        return do

    def _does(self, verb: str) -> bool:
        try:
            self._pi.do(verb)
        except (OSError, AssertionError):  # It is being started.
            return False
        return True

    def _behaving(self, how: str, *, strike: bool = False) -> Callable[[], None]:
        """Have the stand-in behave so; `strike`: and be opened anew, where that shows."""

        def behave() -> None:
            self._standin.behave(how)
            if strike:
                self._strike(signal.SIGKILL)

        return behave

    def _striking(self, number: signal.Signals) -> Callable[[], None]:
        return lambda: self._strike(number)

    def _gave_way(self, _: Said) -> bool:
        return not self._reserve.exists()

    @property
    def _reserve(self) -> Path:
        """What the ledger lets go of where there is no more room, and takes again."""
        return self._ledger.with_suffix(".reserve")

    def _strike(self, number: signal.Signals) -> None:
        for pid in children(self._service.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _fill(self) -> None:
        """Leave not a byte of the disk, as somebody else's log would, nor room to spare in the ledger's own log."""
        until(self._reserve.exists, 60)
        with closing(sqlite3.connect(self._ledger)) as ledger:
            until(lambda: ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        with self._hog.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))


def _unknown(said: Said) -> bool:
    return any(event["verdict"] == "UNKNOWN" for event in said.events)


def _another_year(said: Said) -> bool:
    return any(event["time"][:4] != f"{datetime.now(UTC).year}" for event in said.events)


def _cpu_judges(said: Said) -> bool:
    return "; the CPU judges" in said.log


def _together(*acts: Callable[[], None]) -> Callable[[], None]:
    def do() -> None:
        for act in acts:
            act()

    return do
