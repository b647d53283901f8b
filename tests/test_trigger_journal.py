"""A killed device leaves no trigger without its verdict: the next start gives it, once."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING, Any

import pytest
from device import running_daemon, stop
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import BOOT
from recorder import Recorder
from test_commands import Boss
from test_triggers import SYNTHETIC, config_for

from edge.contract.ulid import new_ulid
from edge.trigger.journal import _BYTES, FILE, SLOTS, Journal, Left, _read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker

KILLS = 6
SOAKED_KILLS = 100


def test_no_trigger_is_lost_with_its_process(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Of all that were taken in before a kill -9 each has exactly one verdict, by the killed life or by the next.

    A verdict that was answered is the one that arrives.
    """
    dice, asked = random.Random(5), 0  # noqa: S311 - when to kill, no secret
    config = config_for(tmp_path, demo_bundle, broker.port, SYNTHETIC)
    kills = SOAKED_KILLS if soak else KILLS
    with Recorder(broker.port, persistent=True) as recorder:
        boss = Boss(broker, recorder)
        for _ in range(kills):
            with running_daemon(config) as daemon:
                before = len(recorder.named("model"))
                recorder.wait(lambda r, n=before: len(r.named("model")) > n)
                several = dice.randrange(1, 12)
                replies = len(recorder.named("reply")) + dice.randrange(several)
                for _ in range(several):
                    asked += 1
                    boss.say("trigger", b'{"transaction":"p%d"}' % asked)
                recorder.wait(lambda r, n=replies: len(r.named("reply")) >= n)
                daemon.send_signal(signal.SIGKILL)
        with running_daemon(config) as daemon:
            recorder.wait_for_status("online")
            assert boss.ask("trigger", transaction="last")["data"]["verdict"] != "UNKNOWN"
            recorder.wait(lambda r: any(event["trigger"] == "mqtt-last" for event in r.named("event")))
            stop(daemon)
        boss.stop()
        recorder.wait_for_status("offline")
    events = {event["id"]: event for event in recorder.named("event")}
    answered = [(event["boot_id"], event["trigger"]) for event in events.values()]
    assert len(set(answered)) == len(answered), "one has two verdicts"
    told = [reply["data"] for reply in recorder.named("reply")]
    assert all(events[data["event"]]["verdict"] == data["verdict"] for data in told), "what was told was not kept"
    late = [event for event in events.values() if event["reason"] == "the device ended before it was judged"]
    assert all(event["verdict"] == "UNKNOWN" for event in late)
    figure(f"{kills} kills, {asked} triggers sent: {len(answered)} taken in and answered, {len(late)} by the next life")


def test_what_was_noted_and_not_settled_is_left(tmp_path: Path) -> None:
    """And nothing else: to the next life with the life's own id, and to none after that."""
    journal = Journal(tmp_path / FILE, BOOT)
    names = [f"gpio-{number}" for number in range(SLOTS + 10)]
    for name in names:
        journal.note(name)
    for name in names[5:]:
        journal.settle(name)
    journal.note("late")
    later = Journal(tmp_path / FILE, new_ulid())
    assert later.left == Left(BOOT, (*names[:5], "late"))
    assert Journal(tmp_path / FILE, new_ulid()).left.names == ()


@pytest.mark.parametrize("obstacle", ["folder", "link"])
def test_where_the_file_cannot_be_the_device_goes_on(tmp_path: Path, obstacle: str) -> None:
    """With memory in its place, and it says so."""
    path = tmp_path / FILE
    if obstacle == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    journal = Journal(path, BOOT)
    journal.note("gpio-1")
    journal.settle("gpio-1")
    assert str(path) in journal.trouble
    assert journal.left == Left()


@given(st.data())
def test_a_damaged_file_gives_names_or_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is flipped in it, cut off or put there instead: no exception, and no name that could not be one."""
    path = tmp_path_factory.mktemp("journal") / FILE
    journal = Journal(path, BOOT)
    for number in range(20):
        journal.note(f"gpio-{number}")
    content = bytearray(path.read_bytes())
    assert len(content) == _BYTES
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=20)):
        content[at] = value
    instead: Any = data.draw(st.sampled_from([None, b"", b"\0" * 10, bytes(range(256)) * 200]))
    path.write_bytes(content[: data.draw(st.integers(0, _BYTES))] if instead is None else instead)
    found = _read(path)
    assert all(name.isascii() and name.isprintable() and 0 < len(name) < 96 for name in found.names)
