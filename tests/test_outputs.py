"""Pins that verdicts switch: which, when, and how they are left."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from spark_host import until

from edge.contract.messages import Verdict
from edge.errors import ConfigError, InspectError
from edge.outputs import Outputs, Schedule
from edge.sections.outputs import OutputConfig
from edge.sections.triggers import GpioConfig
from edge.trigger.gpio import Pin

if TYPE_CHECKING:
    from collections.abc import Iterator

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")

GATE, GOOD = 22, 23


@pytest.fixture(autouse=True)
def pins() -> Iterator[Any]:
    """Return pretended pins, gpiozero's own."""
    from gpiozero.pins.mock import MockFactory

    factory = gpiozero.Device.pin_factory = MockFactory()
    yield factory
    factory.reset()
    gpiozero.Device.pin_factory = None


def levels(pins: Any, number: int) -> list[bool]:
    """Return a pin's levels since it was opened, each that differs from the one before."""
    states = [bool(state.state) for state in pins.pin(number).states]
    return [now for before, now in zip([None, *states], states, strict=False) if now != before]


def test_a_gate_opens_for_a_defect_at_its_time(pins: Any) -> None:
    """As long after the exposure as the part takes to it, for as long as it needs; for no other verdict."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,), delay_ms=150, pulse_ms=30)])
    exposed = time.monotonic()
    outputs.show(Verdict.PASS, exposed)
    outputs.show(Verdict.DEFECT, exposed)
    assert levels(pins, GATE) == [False], "not at once"
    until(lambda: levels(pins, GATE) == [False, True, False])
    times = [state.timestamp for state in pins.pin(GATE).states][-2:]
    assert times[1] >= 0.025, "it closed too soon"
    assert time.monotonic() - exposed >= 0.18
    assert outputs.late == 0
    outputs.close()


def test_a_level_stays_until_the_next_verdict(pins: Any) -> None:
    """Without a pulse's length the pin says what the last verdict was; on may be the low level."""
    outputs = Outputs([OutputConfig(pin=str(GOOD), verdicts=(Verdict.PASS,), pulse_ms=0, active_high=False)])
    assert pins.pin(GOOD).state, "off before the first verdict"
    for verdict, is_on in ((Verdict.PASS, True), (Verdict.PASS, True), (Verdict.UNKNOWN, False), (Verdict.PASS, True)):
        outputs.show(verdict, time.monotonic())
        until(lambda on=is_on: bool(pins.pin(GOOD).state) is not on)
    outputs.close()
    assert pins.pin(GOOD).state, "off after the end"


def test_a_pulse_lasts_its_time_from_the_last_verdict_that_wants_it(pins: Any) -> None:
    """A part that comes within the pulse of the one before has its own whole pulse: that one's end does not cut it."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,), delay_ms=50, pulse_ms=200)])
    exposed = time.monotonic()
    for later in (0.0, 0.15, 0.6):
        outputs.show(Verdict.DEFECT, exposed + later)
    until(lambda: levels(pins, GATE) == [False, True, False, True, False])
    lengths = [state.timestamp for state in pins.pin(GATE).states if not state.state][1:]
    assert lengths[0] == pytest.approx(0.35, abs=0.1), "both parts' pulses, which overlap"
    assert lengths[-1] == pytest.approx(0.2, abs=0.1), "not until the end of one that is only due later"
    outputs.close()


def test_an_end_leaves_the_safe_level(pins: Any) -> None:
    """A gate that is to be open while nobody judges is, before the first verdict and after the end, pulses or not."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.PASS,), pulse_ms=0, safe=True)])
    assert pins.pin(GATE).state
    outputs.show(Verdict.DEFECT, time.monotonic())
    until(lambda: not pins.pin(GATE).state)
    outputs.show(Verdict.DEFECT, time.monotonic() + 60)
    outputs.close()
    assert pins.pin(GATE).state


def test_a_pause_leaves_no_gate_open(pins: Any) -> None:
    """What stays until the next verdict goes to its safe level when there will be none for a while."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.PASS,), pulse_ms=0)])
    outputs.show(Verdict.PASS, time.monotonic())
    until(lambda: bool(pins.pin(GATE).state))
    outputs.rest()
    until(lambda: not pins.pin(GATE).state)
    outputs.close()
    assert levels(pins, GATE) == [False, True, False]


def test_no_other_part_goes_by_in_the_pulse_of_a_pass(pins: Any) -> None:
    """A gate that only PASS opens is shut when a part with another verdict is there, however long its pulse is."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.PASS,), delay_ms=50, pulse_ms=60_000)])
    exposed = time.monotonic()
    outputs.show(Verdict.PASS, exposed)
    outputs.show(Verdict.UNKNOWN, exposed + 0.1)
    until(lambda: levels(pins, GATE) == [False, True, False])
    assert pins.pin(GATE).states[-1].timestamp == pytest.approx(0.1, abs=0.05)
    outputs.close()


def test_a_reject_that_is_on_while_nobody_judges_is_off_while_somebody_does(pins: Any) -> None:
    """Also one that works by pulses: on before the first verdict and in a pause, off for each part that is a PASS."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,), pulse_ms=50, safe=True)])
    assert pins.pin(GATE).state
    outputs.show(Verdict.PASS, time.monotonic())
    until(lambda: levels(pins, GATE)[-2:] == [True, False])
    outputs.show(Verdict.DEFECT, time.monotonic())
    outputs.rest()
    until(lambda: bool(pins.pin(GATE).state))
    assert outputs._schedule is not None
    ended = threading.Event()
    outputs._schedule.at(time.monotonic() + 0.1, ended.set)
    assert ended.wait(10)
    assert pins.pin(GATE).state, "the pulse's end is no end of the pause"
    outputs.show(Verdict.PASS, time.monotonic())
    until(lambda: not pins.pin(GATE).state)
    outputs.close()
    assert pins.pin(GATE).state


def test_a_pass_that_comes_too_late_ends_no_reject(pins: Any) -> None:
    """What stays until the next verdict stays: who is there by then was not judged PASS."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,), delay_ms=100, pulse_ms=0)])
    outputs.show(Verdict.DEFECT, time.monotonic())
    until(lambda: bool(pins.pin(GATE).state))
    outputs.show(Verdict.PASS, time.monotonic() - 1)
    until(lambda: bool(outputs.check()))
    assert (outputs.late, levels(pins, GATE)) == (1, [False, True])
    outputs.show(Verdict.PASS, time.monotonic())
    until(lambda: not pins.pin(GATE).state)
    assert outputs.check() == ""
    outputs.close()


def test_a_verdict_that_comes_too_late_for_its_gate_is_counted(pins: Any) -> None:
    """It is switched at once: better late than never, but somebody has to know."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,), delay_ms=50)])
    outputs.show(Verdict.DEFECT, time.monotonic() - 1)
    until(lambda: bool(pins.pin(GATE).state) or levels(pins, GATE)[1:] == [True, False])
    assert outputs.late == 1
    outputs.close()


def test_a_pass_that_comes_too_late_opens_nothing(pins: Any) -> None:
    """At the gate is another part by then: it stays shut, the status says why, and a PASS in time opens it again."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.PASS,), delay_ms=100)])
    outputs.show(Verdict.PASS, time.monotonic() - 1)
    until(lambda: bool(outputs.check()))
    assert outputs.check() == "outputs: pin '22' stayed as it was: PASS came after its time; raise delay_ms"
    assert (outputs.late, levels(pins, GATE)) == (1, [False])
    outputs.show(Verdict.PASS, time.monotonic())
    until(lambda: levels(pins, GATE) == [False, True, False])
    assert (outputs.late, outputs.check()) == (1, "")
    outputs.close()


def test_a_pin_that_cannot_be_is_refused() -> None:
    """With one line that names it and the remedy."""
    with pytest.raises(ConfigError, match=r"outputs: pin 'GPIO999' cannot be used .*; is it a pin's name"):
        Outputs([OutputConfig(pin="GPIO999", verdicts=(Verdict.DEFECT,))])


class BusyError(Exception):
    """What a driver of gpiozero's raises of its own, as lgpio.error, of which gpiozero knows nothing."""


@pytest.mark.parametrize("error", [BusyError("GPIO busy"), gpiozero.BadPinFactory("no chip yet"), PermissionError()])
def test_a_pin_that_is_not_to_be_had_now_may_be_at_the_next_start(
    pins: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is one line too, and no fault of the configuration: after that systemd would start nothing again."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(pins, "pin", refuse)
    with pytest.raises(InspectError, match=r"outputs: pin '22' cannot be used .*; is it free, and this") as caught:
        Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,))])
    with pytest.raises(InspectError, match=r"trigger.pin '23' cannot be used .*; is it free, and this"):
        Pin(GpioConfig(pin=str(GOOD)), cast("Any", None))
    assert type(caught.value) is InspectError


def test_a_pin_that_fails_is_told_of_until_it_switches_again(pins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's error neither ends the thread that switches nor stays unsaid; the other pins go on."""
    pulses = {"verdicts": (Verdict.DEFECT,), "pulse_ms": 0}
    outputs = Outputs([OutputConfig(pin=str(pin), **pulses) for pin in (GATE, GOOD)])  # type: ignore[arg-type]
    broken = type(pins.pin(GATE))._set_state

    def fail(pin: Any, value: Any) -> None:
        if pin is pins.pin(GATE):
            raise OSError(5, "Input/output error")
        broken(pin, value)

    monkeypatch.setattr(type(pins.pin(GATE)), "_set_state", fail)
    outputs.show(Verdict.DEFECT, time.monotonic())
    until(lambda: bool(pins.pin(GOOD).state))
    said = "outputs: pin '22' does not switch ([Errno 5] Input/output error); look at its wiring"
    assert outputs.check() == said
    monkeypatch.setattr(type(pins.pin(GATE)), "_set_state", broken)
    outputs.show(Verdict.DEFECT, time.monotonic())
    until(lambda: not outputs.check())
    outputs.close()


def test_a_driver_that_hangs_ends_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a new start may free it: whoever looks is told so, and the end does not wait for it."""
    outputs = Outputs([OutputConfig(pin=str(GATE), verdicts=(Verdict.DEFECT,))])
    assert outputs._schedule is not None
    let_go, hangs = threading.Event(), threading.Event()
    outputs._schedule.at(0.0, lambda: (hangs.set(), let_go.wait(60)))  # type: ignore[arg-type, return-value]
    assert hangs.wait(60)
    monkeypatch.setattr("edge.outputs.HANG_SECONDS", 0.0)
    with pytest.raises(InspectError, match="the pins' driver has not come back for 0 s; a new start may free it"):
        outputs.check()
    outputs.close()
    let_go.set()


def test_what_is_due_is_done_in_its_order() -> None:
    """Whichever was asked for first; and nothing after the end."""
    done, schedule, now = [], Schedule(), time.monotonic()
    for name, delay in (("c", 0.09), ("a", 0.03), ("b", 0.06), ("never", 60.0)):
        schedule.at(now + delay, lambda name=name: done.append(name))
    until(lambda: len(done) == 3)
    schedule.close()
    assert done == ["a", "b", "c"]
