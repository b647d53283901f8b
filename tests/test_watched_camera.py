"""A live camera that repeats itself is taken for failed, whatever triggers the judging."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from device import running_daemon, stop, write_config
from hypothesis import given
from hypothesis import strategies as st
from recorder import Recorder
from remote_pi import RemotePi
from test_commands import Boss

from edge.camera.base import BadFrame, Frame
from edge.config import Config
from edge.errors import CameraError
from edge.guard.guard import FROZEN, FROZEN_AFTER
from edge.guard.watched import watch_over
from edge.sections.cameras import FolderConfig, PicameraConfig
from edge.sections.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker


class Showing:
    """A camera that shows pictures by their numbers: the same number is the same picture."""

    keeps_pace = False
    live = True

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers

    def frames(self) -> Iterator[Frame | BadFrame]:
        """As in Camera."""
        while self._numbers:
            yield Frame(1, "1", time.monotonic(), np.full((40, 60, 3), self._numbers.pop(0), np.uint8))

    def close(self) -> None:
        """As in Camera."""


def config(folder: Path, **guard: Any) -> Config:
    """Of a Raspberry Pi's camera."""
    return Config(bundle=folder, camera=PicameraConfig(), guard=Guard(**guard))


@given(st.lists(st.integers(0, 3), max_size=30))
def test_it_fails_at_the_third_picture_that_is_the_same(tmp_path_factory: Any, numbers: list[int]) -> None:
    """No sooner, and not past it; opened anew it fails at once while it is as before."""
    opens = watch_over(lambda: Showing(numbers), config(tmp_path_factory.getbasetemp()))
    shown = numbers.copy()
    runs = [shown[at : at + FROZEN_AFTER] for at in range(len(shown))]
    frozen_at = next((at for at, run in enumerate(runs) if len(run) == FROZEN_AFTER and len(set(run)) == 1), None)
    if frozen_at is None:
        assert len(list(opens().frames())) == len(shown)
        return
    with pytest.raises(CameraError, match=FROZEN):
        list(opens().frames())
    assert len(shown) - len(numbers) == frozen_at + FROZEN_AFTER
    numbers.insert(0, shown[frozen_at])
    with pytest.raises(CameraError, match=FROZEN):
        next(opens().frames())


def test_a_picture_that_comes_twice_stands_for_one_part(tmp_path: Path) -> None:
    """Its repeat would be taken for what was there by then; the camera is well, and its next picture is another."""
    opens = watch_over(lambda: Showing([1, 2, 2, 3]), config(tmp_path))
    shown = [frame and int(frame.pixels[0, 0, 0]) for frame in opens().frames() if not isinstance(frame, BadFrame)]
    assert shown == [1, 2, None, 3]


def test_only_what_can_freeze_and_is_checked_is_watched(tmp_path: Path) -> None:
    """Pictures of files may be equal for ever, and who does not want the check has none."""
    camera = Showing([])
    assert watch_over(lambda: camera, config(tmp_path, checks=("light",)))() is camera
    assert watch_over(lambda: camera, Config(bundle=tmp_path, camera=FolderConfig(path=tmp_path)))() is camera
    assert watch_over(lambda: camera, config(tmp_path))() is not camera


def test_no_part_is_judged_by_a_stale_picture(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Triggered now and then, the first part behind the freeze is UNKNOWN already; thawed, parts are judged again."""
    pi = RemotePi(tmp_path)
    settings = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera=pi.camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        trigger={"kind": "mqtt", "deadline_s": 1.0},
        commands={"allow": ["trigger"]},
    )
    with Recorder(broker.port) as recorder, running_daemon(settings, pi.environment) as daemon:
        recorder.wait_for("model")
        boss = Boss(broker, recorder)
        assert boss.ask("trigger")["data"]["verdict"] != "UNKNOWN"
        pi.do("freeze")
        assert recorder.wait_for_status("degraded")["reason"] == FROZEN
        before = len(recorder.named("event"))
        assert boss.ask("trigger")["data"]["verdict"] == "UNKNOWN"
        assert recorder.wait_for("event", before + 1)[before]["reason"] == FROZEN
        pi.do("thaw")
        recorder.wait_for_status("online")
        assert boss.ask("trigger")["data"]["verdict"] != "UNKNOWN"
        boss.stop()
        stop(daemon)


def test_a_line_that_waits_for_motion_hears_of_a_frozen_camera(
    tmp_path: Path, broker: Broker, demo_bundle: Path
) -> None:
    """Nothing moves in its pictures any more, so that nothing would be judged, nor said."""
    pi = RemotePi(tmp_path)
    settings = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera=pi.camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        trigger={"kind": "motion"},
    )
    with Recorder(broker.port) as recorder, running_daemon(settings, pi.environment) as daemon:
        recorder.wait_for_status("online")
        recorder.wait_for("model")
        pi.do("freeze")
        assert recorder.wait_for_status("degraded")["reason"] == FROZEN
        assert [event["reason"] for event in recorder.wait_for("event")][:1] == [FROZEN]
        pi.do("thaw")
        recorder.wait_for_status("online")
        stop(daemon)
