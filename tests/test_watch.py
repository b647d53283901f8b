"""What counts as proof that a device judges, seen through a real broker."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from conftest import free_port
from paho.mqtt.enums import CallbackAPIVersion
from recorder import await_arrival, hang_up

from deploy.device import Access
from deploy.device import Device as Machine
from deploy.provision import Survey
from deploy.push import Proof, outcome
from deploy.watch import Watch
from edge.contract.messages import Event, Latency, Status, Verdict, encode
from edge.contract.ulid import new_ulid
from edge.errors import BrokerError
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Broker

    from edge.contract.messages import Message

MODEL, OTHER_MODEL = "a" * 64, "b" * 64
NOBODY: frozenset[str] = frozenset()


class Device:
    """Says over MQTT what a device's daemon would say."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave the broker."""
        hang_up(self._client)

    def status(self, boot: str, state: Any = "online", reason: str = "") -> None:
        """Publish a retained status."""
        self._say("status", Status(state=state, reason=reason, boot_id=boot, time=datetime.now(UTC)), retain=True)

    def event(self, boot: str, *, model: str = MODEL, label: str | None = "intact") -> None:
        """Publish a verdict; without a label it is one that no scores led to."""
        event = Event(
            id=new_ulid(),
            seq=1,
            boot_id=boot,
            time=datetime.now(UTC),
            clock_synced=True,
            camera="camera",
            region="whole",
            trigger="free-1",
            source="1",
            verdict=Verdict.PASS if label else Verdict.UNKNOWN,
            frame_verdict=Verdict.PASS if label else Verdict.UNKNOWN,
            reason="",
            label=label,
            score=0.9 if label else None,
            scores={label: 0.9} if label else {},
            threshold=0.5,
            model=model,
            latency_ms=Latency(wait=0, preprocess=0, invoke=0, total=0),
        )
        self._say("event", event)

    def raw(self, name: str, payload: bytes) -> None:
        """Publish bytes that are no message of this version."""
        self._publish(name, payload)

    def _say(self, name: str, message: Message, *, retain: bool = False) -> None:
        self._publish(name, encode(message), retain=retain)

    def _publish(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        await_arrival(self._client.publish(f"inspect/v1/hall/one/{name}", payload, qos=1, retain=retain))


@pytest.fixture
def device(broker: Broker) -> Iterator[Device]:
    """A device on the broker."""
    talking = Device(broker.port)
    yield talking
    talking.close()


@pytest.fixture
def watch(broker: Broker) -> Iterator[Watch]:
    """An operator's look at that device."""
    with Watch(Mqtt(host="127.0.0.1", port=broker.port), site="hall", device="one") as watching:
        yield watching


def test_a_new_start_that_judges_with_the_model_is_proof(device: Device, watch: Watch) -> None:
    """Online and one verdict of the awaited model from a start not heard of before ends the wait with that verdict."""
    old, new = new_ulid(), new_ulid()
    for boot in (old, new):
        device.status(boot)
        device.event(boot)
    sight = watch.verdict(model=MODEL, earlier=frozenset({old}), seconds=10)
    assert sight.event is not None
    assert sight.event.boot_id == new


def test_what_was_heard_before_is_no_proof(device: Device, watch: Watch) -> None:
    """The daemon that runs before a switch cannot vouch for the new release, even if it judges on for a while."""
    boot = new_ulid()
    device.status(boot)
    device.event(boot)
    assert watch.verdict(model=MODEL, earlier=NOBODY, seconds=10).event is not None
    device.event(boot)
    assert watch.verdict(model=MODEL, earlier=frozenset({boot}), seconds=0.5).event is None


@pytest.mark.parametrize(
    "flaw", ["other model", "no scores", "offline", "only online", "foreign payload", "deep payload"]
)
def test_a_half_proof_is_none(device: Device, watch: Watch, flaw: str) -> None:
    """Another model, a verdict without scores, or one half of the pair does not end the wait as a success."""
    boot = new_ulid()
    device.status(boot, "offline" if flaw == "offline" else "online", "no camera" if flaw == "offline" else "")
    if flaw == "foreign payload":
        device.raw("event", b'{"boot_id": 7}')
    elif flaw == "deep payload":
        device.raw("event", b'{"x": ' + b"[" * 100_000)
    elif flaw != "only online":
        device.event(
            boot,
            model=OTHER_MODEL if flaw == "other model" else MODEL,
            label=None if flaw == "no scores" else "intact",
        )
    sight = watch.verdict(model=MODEL, earlier=NOBODY, seconds=1)
    assert sight.event is None
    assert ("offline (no camera)" if flaw == "offline" else "online") in sight.reason


def test_another_model_ends_the_wait(device: Device, watch: Watch) -> None:
    """A start that judges with another model has refused the awaited one: its reason comes at once, not in the end."""
    boot, started = new_ulid(), time.monotonic()
    device.event(new_ulid(), model=OTHER_MODEL)  # A verdict of an earlier life, which comes late, says nothing.
    device.event(boot, model=OTHER_MODEL)
    device.status(boot, "degraded", "the model did not come up")
    sight = watch.verdict(model=MODEL, earlier=NOBODY, seconds=60)
    assert sight.event is None
    assert sight.reason == "it judges with another model; on MQTT it said degraded (the model did not come up)"
    assert time.monotonic() - started < 30


def test_any_model_of_a_degraded_device_is_proof_for_who_asks_for_none(device: Device, watch: Watch) -> None:
    """A device that was degraded before a push judges again after it was put back, degraded as it is."""
    boot = new_ulid()
    device.status(boot, "degraded", "the accelerator is away")
    device.event(boot, model=OTHER_MODEL)
    assert watch.verdict(model=None, earlier=NOBODY, seconds=10).event is not None


def test_a_device_that_no_part_comes_to_is_not_called_lost(device: Device, watch: Watch) -> None:
    """Put back, it is told to run; that its verdict is missing, and what gives it time for one, too."""
    found = Survey(
        host_name="one",
        python="3.11",
        running="releases/1",
        venv="",
        complete=frozenset(),
        hashes={},
        unit="",
        systemd=252,
    )
    device.status(new_ulid())
    said = outcome(found, Proof(Machine(Access(name="one")), watch, 1.0), NOBODY)
    assert said.startswith("the old release is back and runs, but one: no verdict came within 1 s")
    assert "did no part come? give it longer with --timeout" in said


def test_the_wait_ends_in_time(watch: Watch) -> None:
    """A silent device is given up after the seconds that were asked for."""
    started = time.monotonic()
    assert "said nothing" in watch.verdict(model=None, earlier=NOBODY, seconds=0.3).reason
    assert 0.3 <= time.monotonic() - started < 5


def test_a_broker_that_is_not_there_is_one_clear_error() -> None:
    """Without a broker the error names its address and the option that names another one."""
    port = free_port()
    with (
        pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port} .*--broker; the device was not touched"),
        Watch(Mqtt(host="127.0.0.1", port=port), site="hall", device="one"),
    ):
        pass
