"""The real daemon on trial: killed, crashed and stopped before and after its model has proven itself."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from device import end, injected, running_daemon, stop
from recorder import Recorder
from slot_samples import make_device, make_new_device, proven, start, wanting
from spark_host import until
from test_commands import Boss

from deploy.device import Access, Device
from deploy.push import Proof
from deploy.watch import Watch
from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.errors import DeployError
from edge.ledger.ledger import FILE as LEDGER
from edge.ledger.reading import opened
from edge.sections.mqtt import Mqtt
from edge.slots import choice, starts
from edge.slots.slots import MOST_STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker

_EARLY = "from edge.slots import slots\nslots.KEPT_SECONDS = 0.2\n"
_QUICKLY = _EARLY + "slots.PROVEN_SECONDS = 0.5\n"
_CRASHING_ONCE_KEPT = f"""{_EARLY}
import os, signal
from edge.slots import copies
keep = copies.keep
def crash(folder, bundle, trusted_keys, *, proven):
    keep(folder, bundle, trusted_keys, proven=proven)
    if bundle.model_sha256 == os.environ["CRASHES"]:
        os.kill(os.getpid(), signal.{signal.SIGSEGV.name})
copies.keep = crash
"""
_CRASHING = f"""
import hashlib, os, signal, sys
if "run" in sys.orig_argv:
    from edge import runtime
    opened = runtime.open_interpreter
    def crash(model, settings):
        if hashlib.sha256(model).hexdigest() == os.environ["CRASHES"]:
            os.kill(os.getpid(), signal.{signal.SIGSEGV.name})
        return opened(model, settings)
    runtime.open_interpreter = crash
"""


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device whose old model has proven itself, and new ones."""
    return make_device(tmp_path)


@pytest.fixture
def recorder(broker: Broker) -> Iterator[Recorder]:
    """Whoever listens to the device."""
    with Recorder(broker.port) as recording:
        yield recording


def model_of(device: Path, name: str) -> str:
    """Return the SHA-256 of a bundle's model, as events carry it."""
    return bundles.read(device / name).model_sha256


def wait_for_a_new_life(recorder: Recorder) -> None:
    """Wait for a verdict of a daemon that has not been heard of before: those of killed ones may come late."""
    before = {event["boot_id"] for event in recorder.named("event")}
    recorder.wait(lambda r: any(event["boot_id"] not in before for event in r.named("event")))


def judge(recorder: Recorder, config: Path, model: str, environment: dict[str, str] | None = None) -> None:
    """Run the daemon until a model judges, and kill it."""
    with running_daemon(config, environment):
        wait_for_a_new_life(recorder)
    assert recorder.named("event")[-1]["model"] == model


def crash_thrice(config: Path, environment: dict[str, str]) -> None:
    """Run the daemon until it crashes by itself, as often as a model may."""
    for _ in range(MOST_STARTS):
        with running_daemon(config, environment) as daemon:
            end(daemon)
            assert daemon.returncode == -signal.SIGSEGV


def run_until_kept(config: Path, environment: dict[str, str], bundle: str) -> None:
    """Run the daemon until a slot has the model that judges, and stop it in order."""
    with running_daemon(config, environment) as daemon:
        until(lambda: bundle in choice.held(config.parent / "state").values())
        stop(daemon)
        assert daemon.returncode == 0


def test_three_kills_on_trial_bring_the_old_model_back(device: Path, broker: Broker, recorder: Recorder) -> None:
    """After kill -9 three times the old model judges, at later starts too; status, model and ledger say so."""
    config = wanting(device, broker.port, "new")
    for _ in range(MOST_STARTS):
        judge(recorder, config, model_of(device, "new"))
    for _ in range(2):
        judge(recorder, config, model_of(device, "old"))
    recorder.wait(lambda r: any("judges instead" in each["reason"] for each in r.named("status")))
    (said,) = {each["reason"] for each in recorder.statuses() if each["state"] == "degraded"}
    assert "the model 'new'" in said
    assert "did not come up in 3 starts; the model 'old'" in said
    assert recorder.named("model")[-1]["name"] == "old"
    with opened(device / "state" / LEDGER) as store:
        (audited,) = store.audits(1 << 62, 10)
    assert audited.audit.name == "model"
    assert "did not come up" in audited.audit.error


def test_a_model_that_crashes_while_it_is_loaded_is_left(device: Path, broker: Broker, recorder: Recorder) -> None:
    """SIGSEGV in the runtime, before the first frame, three times: the fourth start judges with the old model."""
    config = wanting(device, broker.port, "new")
    environment = injected(device, _CRASHING, CRASHES=model_of(device, "new"))
    crash_thrice(config, environment)
    judge(recorder, config, model_of(device, "old"), environment)
    assert choice.read(device / "state").refused == bundles.identify(device / "new")


def test_a_model_that_judged_for_seconds_is_one_to_go_back_to(
    tmp_path: Path, broker: Broker, recorder: Recorder
) -> None:
    """The first model of a device is stopped before it is proven, and the next one crashes: the first one judges."""
    device = make_new_device(tmp_path)
    run_until_kept(wanting(device, broker.port, "old"), injected(device, _EARLY), bundles.identify(device / "old"))
    assert proven(device) == set()
    config = wanting(device, broker.port, "new")
    environment = injected(device, _CRASHING, CRASHES=model_of(device, "new"))
    crash_thrice(config, environment)
    judge(recorder, config, model_of(device, "old"), environment)
    recorder.wait(lambda r: any("judges instead" in each["reason"] for each in r.named("status")))
    (said,) = {each["reason"] for each in recorder.statuses() if each["state"] == "degraded"}
    assert "the model 'new'" in said
    assert "did not come up in 3 starts; the model 'old'" in said


def test_a_model_that_crashes_after_it_was_kept_is_left(device: Path, broker: Broker, recorder: Recorder) -> None:
    """A crash within the trial counts though a slot has the model: the fourth start judges with the old one."""
    config, new = wanting(device, broker.port, "new"), bundles.identify(device / "new")
    environment = injected(device, _CRASHING_ONCE_KEPT, CRASHES=model_of(device, "new"))
    crash_thrice(config, environment)
    assert choice.held(device / "state")["b"] == new
    judge(recorder, config, model_of(device, "old"), environment)
    assert choice.read(device / "state").refused == new


def test_three_models_in_turn_leave_the_proven_one(device: Path, broker: Broker, recorder: Recorder) -> None:
    """Each judges for long enough to be kept, the last one crashes: the one that was proven before them judges."""
    for name in ("new", "newer", "newest"):
        config = wanting(device, broker.port, name)
        run_until_kept(config, injected(device, _EARLY), bundles.identify(device / name))
    environment = injected(device, _CRASHING, CRASHES=model_of(device, "newest"))
    crash_thrice(config, environment)
    judge(recorder, config, model_of(device, "old"), environment)
    assert choice.read(device / "state").refused == bundles.identify(device / "newest")


def test_one_trigger_is_enough_for_proof(device: Path, broker: Broker, recorder: Recorder) -> None:
    """A model that was asked once is kept and proven in a pause of the line: no part has to come for that."""
    more = {"trigger": {"kind": "mqtt"}, "commands": {"allow": ["trigger"]}}
    config, state = wanting(device, broker.port, "new", **more), device / "state"
    with running_daemon(config, injected(device, _QUICKLY)):
        recorder.wait_for("model")
        boss = Boss(broker, recorder)
        assert boss.ask("trigger")["data"]["verdict"] != "UNKNOWN"
        boss.stop()
        until(lambda: proven(device) == {"old", "new"})
        until(lambda: not (state / starts.FILE).exists())
    assert len(recorder.named("event")) == 1


def test_stops_on_trial_do_not_count(device: Path, broker: Broker, recorder: Recorder) -> None:
    """A daemon that is stopped in order again and again before its model is proven goes on with it."""
    config = wanting(device, broker.port, "new")
    for _ in range(MOST_STARTS + 1):
        with running_daemon(config) as daemon:
            wait_for_a_new_life(recorder)
            stop(daemon)
            assert daemon.returncode == 0
    assert recorder.named("event")[-1]["model"] == model_of(device, "new")
    assert not (device / "state" / starts.FILE).exists()


def test_kills_after_the_proof_do_not_count(device: Path, broker: Broker, recorder: Recorder) -> None:
    """A model that has judged for long enough is kept in a slot, and kill -9 afterwards is not held against it."""
    config, state = wanting(device, broker.port, "new"), device / "state"
    environment = injected(device, _QUICKLY)
    for _ in range(MOST_STARTS + 1):
        with running_daemon(config, environment):
            wait_for_a_new_life(recorder)
            recorder.wait(lambda _: not (state / starts.FILE).exists())
            recorder.wait(lambda _: choice.or_none(state).active == "b")
    assert {each["state"] for each in recorder.statuses()} == {"online", "offline"}
    assert bundles.read(choice.slot(state, "b")).sha256 == bundles.identify(device / "new")


@pytest.mark.parametrize("fault", ["crashes", "damaged"])
def test_a_push_notices_that_another_model_judges(device: Path, broker: Broker, recorder: Recorder, fault: str) -> None:
    """Its wait for the pushed model fails with the device's reason; with the release put back the old one is proof."""
    config = wanting(device, broker.port, "new")
    model = model_of(device, "new")
    if fault == "crashes":
        for _ in range(MOST_STARTS):
            start(device, "new")
        config = wanting(device, broker.port, "new")
    else:
        (device / "new" / MODEL).write_bytes(b"damaged")
    mqtt = Mqtt(host="127.0.0.1", port=broker.port)
    with Watch(mqtt, site="test", device="dut") as watch:
        proof = Proof(Device(Access(name="dut")), watch, 60.0)
        with running_daemon(config):
            recorder.wait(lambda r: any(event["model"] == model_of(device, "old") for event in r.named("event")))
            with pytest.raises(DeployError, match=r"it said degraded .*; the model 'old' .* judges instead"):
                proof.wait(model, frozenset())
        earlier = watch.boots()
        with running_daemon(wanting(device, broker.port, "old")):
            assert proof.wait(None, earlier).model == model_of(device, "old")
