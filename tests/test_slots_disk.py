"""Slots on disks that are full, read-only or damaged, and power cuts at any step: a start judges."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from power_cuts import ACTIONS
from slot_samples import (
    copy_probes,
    crash,
    damage,
    make_bundle,
    make_device,
    place_of,
    prove,
    proven,
    start,
    try_out,
    want,
)

from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.slots import choice, starts

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device whose old model has proven itself, and new ones."""
    return make_device(tmp_path)


def test_a_slot_with_a_flipped_bit_is_passed_over(device: Path) -> None:
    """What has rotted in a slot is not judged with: the other slot stands in, or the wanted model goes on."""
    prove(device, "newer")
    damage(place_of(device, "newer") / MODEL)
    crash(device, "new")
    started = start(device, "new")
    assert started.judges == "old"
    damage(place_of(device, "old") / MODEL)
    assert start(device, "new").judges == "new"


def test_a_rotten_copy_is_mended_while_its_model_judges(device: Path) -> None:
    """A proof reads the slot through, and copies anew what is not what it was."""
    damage(place_of(device, "old") / MODEL)
    prove(device, "old")
    assert bundles.read(place_of(device, "old")).manifest.name == "old"


def test_what_a_power_cut_left_is_removed(device: Path) -> None:
    """Half a copy in a hidden folder does not stay on the card for ever."""
    left = device / "state" / "slots" / ".a.left"
    left.mkdir()
    (left / "model.tflite").write_bytes(b"half")
    prove(device, "new")
    assert sorted(path.name for path in left.parent.iterdir()) == ["a", "b"]


@settings(max_examples=60)
@given(kept=st.binary(max_size=300), counted=st.binary(max_size=300))
@example(kept=b'{"version": 1, "active": "b"}', counted=b'{"kernel": "", "bundle": "", "count": -5}')
@example(kept=b'{"refused": "' + b"0" * 64 + b'", "reason": "it is late"}', counted=b"[" * 60_000)
@example(kept=b'{"trial": ["old"], "active": "a"}', counted=b"")
@example(kept=b'{"reason": "\xff"}', counted=b"")
def test_whatever_is_in_the_files_a_start_judges(kept: bytes, counted: bytes) -> None:
    """Damaged files are told, where they were of use, and the wanted model judges."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_bundle(place, "new")
        want(place, "new")
        copy_probes(place / "state")
        (place / "state" / choice.FILE).write_bytes(kept)
        (place / "state" / starts.FILE).write_bytes(counted)
        assert start(place, "new").judges == "new"


def test_damaged_files_lose_no_copies(device: Path) -> None:
    """Which model was refused is forgotten, and said; the copies say themselves what they are."""
    (device / "state" / choice.FILE).write_bytes(b"{")
    started = start(device, "new")
    assert (started.judges, "slots.json cannot be used" in started.slots.trouble) == ("new", True)
    crash(device, "new", 2)
    assert start(device, "new").judges == "old"
    assert choice.read(device / "state").refused


def test_a_full_disk_keeps_nobody_from_judging(little: Path) -> None:
    """A model that cannot be copied judges, the status says so, and nothing is left over."""
    make_bundle(little, "new")
    want(little, "new")
    started = start(little, "new")
    hog = little / "hog"
    hog.write_bytes(bytes(shutil.disk_usage(little).free))
    started.slots._keep(proven=True)
    assert "'new'" in started.slots.trouble
    assert "cannot be gone back to" in started.slots.trouble
    assert list((little / "state").glob("slots/*")) == []
    again = start(little, "new")
    assert again.judges == "new"
    hog.unlink()
    again.slots._keep(proven=True)
    assert again.slots.trouble == ""
    assert bundles.read(place_of(little, "new")).manifest.name == "new"


def test_a_read_only_state_keeps_nobody_from_judging(device: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a disk that can be written to the wanted model judges, and the log says what is not noticed then."""
    state = device / "state"
    start(device, "old")
    mounted = subprocess.run(["mount", "--bind", state, state], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a folder read-only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", state], check=True)
        started = start(device, "new")
        assert started.judges == "new"
        assert "should this start crash, nobody notices" in caplog.text
        started.slots.__exit__(None, None, None)
        started.slots._keep(proven=True)
        assert "cannot be gone back to" in started.slots.trouble
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_a_roll_back_that_cannot_be_written_down_happens_again(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The starts of the refused model stay counted, so that the next start goes back too."""
    crash(device, "new")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(choice.storage, "replace_file", full)
        started = start(device, "new")
        assert started.judges == "old"
        assert "cannot be kept" in started.slots.trouble
    assert start(device, "new").judges == "old"


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_power_cut_at_any_step_leaves_a_device_that_judges(
    device: Path, figure: Callable[[str], None], action: str
) -> None:
    """Whenever it comes, what is wanted judges or is stood in for, and a model to go back to is there throughout."""
    if action in {"replace", "back"}:
        prove(device, "new")
    if action in {"prove", "try another"}:
        try_out(device, "new")
    if action == "roll back":
        crash(device, "new")
    script = Path(__file__).with_name("power_cuts.py")
    subprocess.run([sys.executable, script, device, action], check=True, timeout=300)
    left = sorted(device.parent.glob(f"{device.name}-{action}-*"))
    assert len(left) > 3
    for each in left:
        if action.startswith("try"):
            assert bundles.read(place_of(each, "old")).manifest.name == "old"
            assert proven(each) == {"old"}
        assert start(each, "new").judges in {"new", "old"}
        damage(each / "new" / MODEL)
        assert start(each, "new").judges in {"new", "old", "newer"}
        prove(each, "newer")
        assert sorted(path.name for path in (each / "state" / "slots").iterdir()) == ["a", "b"]
    figure(f"a power cut at each of {len(left)} steps")
