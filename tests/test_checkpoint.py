from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import cache
from training.network.checkpoint import Checkpoint, Notes, Run, State
from training.network.scores import NOTHING, Score

if TYPE_CHECKING:
    from pathlib import Path

NOTES = Notes(start=NOTHING, best=Score(0.5, -1.25), epoch=2, best_epoch=1, loss=[1.5, 1.25])
ARRAYS = {"model": [np.arange(6.0).reshape(2, 3), np.array(7)], "best": [np.arange(3, dtype=np.float32)]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint that was saved."""
    checkpoint = Checkpoint(tmp_path_factory.mktemp("run") / "head.state")
    checkpoint.save(State(ARRAYS, NOTES))
    return checkpoint


def load(content: bytes, folder: pytest.TempPathFactory) -> State | None:
    checkpoint = Checkpoint(folder.getbasetemp() / "fuzz.state")
    checkpoint.path.write_bytes(content)
    return checkpoint.load()


def whole(**entries: Any) -> bytes:
    """Return a file that is not damaged, whatever is in it."""
    buffer = io.BytesIO()
    np.savez(buffer, **entries)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def test_what_was_saved_is_loaded(saved: Checkpoint) -> None:
    """Arrays by group and in order, the notes, and a score that is worse than any."""
    state = saved.load()
    assert state is not None
    assert state.notes == NOTES
    assert {group: [array.tolist() for array in arrays] for group, arrays in state.arrays.items()} == {
        "model": [[[0, 1, 2], [3, 4, 5]], 7],
        "best": [[0, 1, 2]],
    }


@given(raw=st.binary(max_size=200) | st.binary(max_size=60).map(lambda raw: b"\x93NUMPY" + raw))
def test_any_bytes_are_no_state(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    """Noise, an npy file's beginning too, cannot be read: no exception."""
    assert load(raw, tmp_path_factory) is None


@given(data=st.data())
def test_any_damage_is_no_state(
    tmp_path_factory: pytest.TempPathFactory, saved: Checkpoint, data: st.DataObject
) -> None:
    """A file with a piece of it replaced, left out or cut off cannot be read, even if only an array's value differs."""
    good = saved.path.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(start + 40, len(good))) | st.just(len(good)))
    content = good[:start] + data.draw(st.binary(max_size=40)) + good[end:]
    assert (load(content, tmp_path_factory) is None) == (content != good)


@given(
    notes=st.recursive(
        st.none() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["start", "best", "epoch", "loss", "curves"]), inner, max_size=4)
        ),
    )
)
def test_other_notes_are_no_state(tmp_path_factory: pytest.TempPathFactory, notes: Any) -> None:
    """What another version noted, of whatever shape, is a State with all its notes or cannot be read."""
    raw = np.frombuffer(msgspec.msgpack.encode(notes), np.uint8)
    state = load(whole(notes=raw), tmp_path_factory)
    assert state is None or isinstance(state.notes.best, Score)


def test_why_a_checkpoint_is_not_taken_up_is_said(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes that lack something, or none at all, are one line on standard error; a file that is not there is none."""
    lacking = msgspec.to_builtins(NOTES)
    del lacking["best"]
    raw = np.frombuffer(msgspec.msgpack.encode(lacking), np.uint8)
    for content, reason in ((whole(notes=raw), "missing required field `best`"), (whole(), "notes"), (b"", "damaged")):
        assert load(content, tmp_path_factory) is None
        said = capsys.readouterr().err
        assert reason in said
        assert said.endswith("the stage begins anew\n")
        assert said.count("\n") == 1
    assert Checkpoint(tmp_path_factory.getbasetemp() / "none.state").load() is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mine", ["mine", "search/3"])
def test_runs_that_nobody_went_on_with_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: str) -> None:
    """A run that ends well, a search's trial too, forgets itself, and of all left behind those beyond the limit."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for key in ("left behind", "search/2", mine):
        Run(key).checkpoint("head").save(State(ARRAYS, NOTES))
    Run(mine).finish()
    left = sorted(path.parent.name for path in cache.folder("runs").rglob("*.state"))
    assert left == ["2", "left behind"]
    monkeypatch.setattr("training.network.checkpoint._MOST_BYTES", 0)
    Run(mine).finish()
    assert list(cache.folder("runs").rglob("*.state")) == []
