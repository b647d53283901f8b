"""What befalls a device in a factory: faults that begin and end, for tests."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from accelerators import children
from spark_host import until

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerators import Standin
    from proxy import Proxy
    from remote_pi import RemotePi
    from service import Service

DECADE = 10 * 365 * 86_400


class Fault(Record, frozen=True):
    """One kind: how it begins, and how it ends."""

    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    cuts_off: bool = False
    """Whether a request that is on its way may be lost with it: the process ends, or its connection."""


class Factory:
    """A device, and what may befall it."""

    def __init__(self, *, service: Service, pi: RemotePi, network: Proxy, standin: Standin, disk: Path) -> None:
        self._service = service
        self._pi = pi
        self._network = network
        self._standin = standin
        self._hog = disk / "hog"

    def faults(self) -> dict[str, Fault]:
        """Return each kind by its name."""
        return self._of_the_camera() | self._of_the_accelerator() | self._of_the_process() | self._of_the_rest()

    def _of_the_camera(self) -> dict[str, Fault]:
        pairs = {"unplug": "plug", "freeze": "thaw", "cover": "uncover"}
        faults = {name: Fault(self._doing(name), self._doing(end)) for name, end in pairs.items()}
        faults["another size"] = Fault(self._doing("shrink", "unplug"), self._doing("grow", "plug"))
        faults["a camera that jams"] = Fault(self._ending(self._doing("jam", "unplug")), cuts_off=True)
        return faults

    def _of_the_accelerator(self) -> dict[str, Fault]:
        loads = ("no-device", "crash-load", "hang-load", "refuse-model", "wrong")
        invokes = ("crash-invoke 9", "hang-invoke 9", "fail-invoke 9")
        faults = {name: Fault(self._behaving(name, strike=name in loads), self._behaving("works")) for name in loads}
        faults |= {name: Fault(self._behaving(name), self._behaving("works")) for name in invokes}
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP):
            faults[f"{number.name} for the accelerator"] = Fault(lambda each=number: self._strike(each))  # type: ignore[misc]
        return faults

    def _of_the_process(self) -> dict[str, Fault]:
        names = ("capture", "ledger", "mqtt-sender", "mqtt-connection", "accelerator")
        faults = {f"the end of {name}": Fault(self._killing(name, self._starts), cuts_off=True) for name in names}
        faults["the end of paho"] = Fault(self._killing("paho-mqtt-client", lambda: self._network.links), cuts_off=True)
        faults["kill -9"] = Fault(self._ending(lambda: self._service.send(signal.SIGKILL)), cuts_off=True)
        stop, go_on = (lambda: self._service.send(signal.SIGSTOP)), (lambda: self._service.send(signal.SIGCONT))
        faults["SIGSTOP"] = Fault(stop, go_on)
        return faults

    def _of_the_rest(self) -> dict[str, Fault]:
        return {
            "a clock ten years ahead": Fault(self._doing(f"jump {DECADE}"), self._doing("jump 0")),
            "a clock ten years back": Fault(self._doing(f"jump {-DECADE}"), self._doing("jump 0")),
            "a full disk": Fault(self._fill, self._hog.unlink),
            "a cut network": Fault(self._network.cut, cuts_off=True),
            "a silent network": Fault(self._network.hang, self._network.cut, cuts_off=True),
            "unplug, on a full disk": Fault(
                _together(self._fill, self._doing("unplug")), _together(self._hog.unlink, self._doing("plug"))
            ),
            "a hang, without a network": Fault(
                _together(self._network.hang, self._behaving("hang-invoke 9")),
                _together(self._network.cut, self._behaving("works")),
                cuts_off=True,
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

    def _strike(self, number: signal.Signals) -> None:
        for pid in children(self._service.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _fill(self) -> None:
        """Leave not a byte of the disk, as somebody else's log would."""
        with self._hog.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))


def _together(*acts: Callable[[], None]) -> Callable[[], None]:
    def do() -> None:
        for act in acts:
            act()

    return do
