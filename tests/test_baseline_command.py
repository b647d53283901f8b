"""`edge-inspect baseline` as a person at the line meets it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import NOBODY
from device import assert_one_clear_line, run_inspect, write_config
from fakes import PiCameras
from guard_line import CAMERA, Shot, at_rest, photograph
from PIL import Image

from edge import state
from edge.config import Config
from edge.errors import ConfigError, DataError
from edge.guard import baseline_file, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.contract.preprocess import Pixels


def station(folder: Path, pictures: Iterable[Pixels], **more: Any) -> Path:
    """A device whose camera shows these pictures; returns its configuration."""
    place = folder / "pictures"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(place / f"{number:03}.bmp")
    camera = {"kind": "folder", "path": str(place)}
    return write_config(folder / "device.toml", bundle=folder / "none", camera=camera, mqtt={}, **more)


def test_it_learns_keeps_and_tells(tmp_path: Path) -> None:
    """Good parts, then the empty fixture: a table of what was learned, and a file that the daemon's user may read."""
    config = station(tmp_path, at_rest(1, range(12)))
    done = run_inspect("baseline", "--config", config, "--frames", 12)
    assert done.returncode == 0, done.stderr
    assert "12 of 12 frames" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "12 frames of 640x360 pixels, camera camera"
    rows = {line.split("  ")[0]: line.split()[-1] for line in lines[2:8]}
    assert set(rows) == {"luma", "dark pixels", "bright pixels", "sharpness", "likeness", "shift"}
    assert lines[-2:] == [
        "empty fixture: not known; --empty takes it",
        f"kept in {tmp_path / 'state' / 'baseline.json'}; the daemon's next start uses it",
    ]
    kept = baseline_file.read(tmp_path / "state" / baseline_file.FILE)
    assert kept is not None
    assert (kept.frames, kept.empty) == (12, b"")
    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    os.chown(tmp_path / "state", owner, -1)
    station(tmp_path, [photograph(1, part, Shot(empty=True)) for part in range(10)])
    added = run_inspect("baseline", "--config", config, "--frames", 10, "--empty")
    assert added.returncode == 0, added.stderr
    assert "empty fixture: known" in added.stdout
    both = baseline_file.read(tmp_path / "state" / baseline_file.FILE)
    assert both is not None
    assert (both.part, len(both.empty)) == (kept.part, len(kept.part))
    assert (tmp_path / "state" / baseline_file.FILE).stat().st_uid == owner


def test_check_says_what_frames_are_compared_with(tmp_path: Path, demo_bundle: Path) -> None:
    """None yet, then the baseline that was taken; one of another camera is refused."""
    config = station(tmp_path, at_rest(1, range(12)))
    config.write_text(config.read_text("utf-8").replace(str(tmp_path / "none"), str(demo_bundle)), "utf-8")
    assert "ok  baseline       none yet in " in run_inspect("check", "--config", config).stdout
    assert run_inspect("baseline", "--config", config).returncode == 0
    assert "ok  baseline       12 frames of 640x360 pixels\n" in run_inspect("check", "--config", config).stdout
    config.write_text(config.read_text("utf-8").replace('kind = "folder"', 'kind = "folder"\nname = "left"'), "utf-8")
    assert_one_clear_line(run_inspect("check", "--config", config), 8, "the baseline is of camera 'camera'")


@pytest.mark.parametrize(
    ("pictures", "options", "words"),
    [
        ([(1, Shot())] * 4, (), ["only 4 frames came, at least 10 are needed"]),
        ([(1, Shot())], ("--frames", 9), ["--frames 9 teaches too little, or takes too long; set 10 to 500"]),
        ([(1, Shot())] * 11 + [(1, Shot(light=0))], (), ["camera camera: the picture is black"]),
        (
            [(1, Shot())] * 9 + [(1, Shot(blur=5))] * 3,
            (),
            ["3 of 12 frames do not fit", "out of focus", "guard.checks"],
        ),
        (
            [(1, Shot())] * 9 + [(1, Shot(shift=(40, 0)))] * 3,
            (),
            ["3 of 12 frames do not fit", "the fixture moved by 6"],
        ),
        ([(1, Shot())] * 12, ("--empty",), ["no baseline yet; take one of good parts, then one with --empty"]),
    ],
)
def test_frames_that_teach_nothing_are_refused(
    tmp_path: Path, pictures: list[tuple[int, Shot]], options: tuple[Any, ...], words: list[str]
) -> None:
    """Too few, a black one, a quarter out of focus or moved: one line with the reason, and nothing is kept."""
    config = station(tmp_path, [photograph(1, number, shot) for number, (_, shot) in enumerate(pictures)])
    assert_one_clear_line(run_inspect("baseline", "--config", config, *options), 8, *words)
    assert not (tmp_path / "state" / baseline_file.FILE).exists()


def test_a_hand_in_one_frame_is_no_reason_to_begin_again(tmp_path: Path) -> None:
    """One frame of twelve that differs from the others is left aside."""
    config = station(tmp_path, [*at_rest(1, range(11)), photograph(1, 11, Shot(empty=True))])
    assert run_inspect("baseline", "--config", config).returncode == 0


def test_a_moving_belt_is_refused_unless_nothing_is_compared(tmp_path: Path) -> None:
    """Parts that lie anywhere teach no place: the refusal names the way out, by which light and focus are learned."""
    rng = np.random.default_rng(1)
    parts = [np.roll(photograph(4, part), rng.integers(0, 640), axis=1) for part in range(12)]
    config = station(tmp_path, parts)
    refusal = ["differ too much to compare others with", 'leave "part" and "fixture" out of guard.checks']
    assert_one_clear_line(run_inspect("baseline", "--config", config), 8, *refusal)
    station(tmp_path, parts, guard={"checks": ["light", "focus"]})
    assert run_inspect("baseline", "--config", config).returncode == 0


def test_a_fixture_with_a_part_is_not_taken_for_empty(tmp_path: Path) -> None:
    """A part left in the fixture, frames of another size, a renamed camera or a damaged baseline: one line each."""
    config = station(tmp_path, at_rest(1, range(12)))
    assert run_inspect("baseline", "--config", config).returncode == 0
    again = ("baseline", "--config", config, "--empty")
    assert_one_clear_line(run_inspect(*again), 8, "the fixture looks as it does with a part", "take the part away")
    station(tmp_path, [pixels[::2] for pixels in at_rest(1, range(12))])
    assert_one_clear_line(run_inspect(*again), 8, "the frame has 640x180 pixels, the baseline 640x360")
    config.write_text(config.read_text("utf-8").replace('kind = "folder"', 'kind = "folder"\nname = "left"'), "utf-8")
    assert_one_clear_line(run_inspect(*again), 8, "the baseline is of camera 'camera'")
    (tmp_path / "state" / baseline_file.FILE).write_bytes(b"{}")
    assert_one_clear_line(run_inspect(*again), 8, "no baseline that can be used")


def test_a_camera_is_left_to_settle_and_a_frozen_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a live camera the first seconds are not learned from, and one that shows the same bytes again is refused."""
    pi = PiCameras()
    pi.show(photograph(1, 0))
    monkeypatch.setitem(sys.modules, "picamera2", pi.module())
    camera = {"kind": "picamera2", "width": 640, "height": 360, "rate": 100}
    config = write_config(tmp_path / "device.toml", bundle=tmp_path, camera=camera, mqtt={})
    began = time.monotonic()
    with pytest.raises(DataError, match="the camera is frozen"):
        command.learn(config, 12, empty=False)
    assert time.monotonic() - began >= command.SETTLING_SECONDS
    assert pi.closed == 1


def test_pictures_of_two_sizes_or_damaged_are_refused(tmp_path: Path) -> None:
    """Each names the picture."""
    pictures = at_rest(1, range(12))
    config = station(tmp_path, [*pictures[:11], pictures[11][:100]])
    words = ["011.bmp: 640x100 pixels, the frames before had 640x360"]
    assert_one_clear_line(run_inspect("baseline", "--config", config), 8, *words)
    (tmp_path / "pictures" / "005.bmp").write_bytes(b"BM")
    assert_one_clear_line(run_inspect("baseline", "--config", config), 5, "005.bmp: not a readable picture")


def test_who_may_not_write_there_learns_it_before_the_camera_opens(ordinary_user: Path) -> None:
    """Another user's state folder is refused with the remedy; one's own is taken."""
    config = Config(bundle=ordinary_user, camera=CAMERA, state_dir=ordinary_user / "state")
    assert state.daemons_state(config) == ordinary_user / "state"
    (ordinary_user / "state").chmod(0o500)
    with pytest.raises(ConfigError, match="is not this user's to write in; use sudo, or set another state_dir"):
        state.daemons_state(config)


def test_the_services_folder_is_the_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service has a folder a person's baseline goes there, and what the daemon keeps is looked for there."""
    config = Config(bundle=tmp_path, camera=CAMERA)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(state, "OF_THE_SERVICE", tmp_path / "service")
    assert state.daemons_state(config) == tmp_path / "home" / "edge-inspect"
    (tmp_path / "service").mkdir()
    assert state.daemons_state(config) == tmp_path / "service"
    for place in ("home/edge-inspect", "service", "systemd"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "ledger.db").touch()
    assert state.find_state(config, "ledger.db") == tmp_path / "service" / "ledger.db"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "systemd"))
    assert state.daemons_state(config) == Path(tmp_path / "systemd")
    assert state.find_state(config, "ledger.db") == tmp_path / "systemd" / "ledger.db"
