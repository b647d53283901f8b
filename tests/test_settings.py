"""Settings that were changed over MQTT, as a start finds them on the disk."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_admission import configured

from edge.config import parse
from edge.contract import storage
from edge.errors import ConfigError
from edge.sections.triggers import MotionConfig
from edge.settings import FILE, Settings


@given(kept=st.binary(max_size=300).filter(lambda each: each.strip() != b"{}"))
@example(kept=b'{"decision.threshold": "\xff"}')
@example(kept=b'{"decision.threshold": ' + b"[" * 60_000)
@example(kept=b'{"decision.votes": 5, "decision.window": 3}')
@example(kept=b"[]")
def test_whatever_is_in_the_file_a_start_goes_on(kept: bytes) -> None:
    """What cannot be used leaves the configuration file's values, and the status says which file it is."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(kept)
        found = Settings(configured(), Path(folder))
    assert found.config == configured()
    assert FILE in found.trouble


def test_what_was_changed_is_found_again(tmp_path: Path) -> None:
    """A value that was set counts at the next start."""
    Settings(configured(), tmp_path).change({"decision.threshold": 0.25})
    found = Settings(configured(), tmp_path)
    assert (found.config.decision.threshold, found.trouble) == (0.25, "")


def test_no_votes_of_other_parts_from_afar(tmp_path: Path) -> None:
    """Where each trigger is a part of its own N of M can neither be set, nor count from an earlier configuration."""
    Settings(configured(), tmp_path).change({"decision.votes": 2, "decision.window": 3})
    triggered = msgspec.structs.replace(configured(), trigger=MotionConfig())
    found = Settings(triggered, tmp_path)
    assert found.config.decision.window == 1
    assert "decision.window 3: with trigger.kind motion each part has one frame" in found.trouble
    said = r"window 3: with trigger.kind motion .*, which no other's may outvote; set decision.window to 1$"
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "decision": {"window": 3}, "trigger": {"kind": "motion"}}
    with pytest.raises(ConfigError, match=said):
        parse(table, tmp_path / "device.toml")
    with pytest.raises(ConfigError, match=r"set decision\.window to 1$"):
        found.change({"decision.window": 3})


def test_a_disk_that_hangs_changes_nothing_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is told so within a second, and the next at once; when it goes on a change counts again."""
    replace, let_go = storage.replace_file, threading.Event()

    def hang(path: Path, data: bytes) -> None:
        let_go.wait(60)
        replace(path, data)

    monkeypatch.setattr(storage, "replace_file", hang)
    settings = Settings(configured(), tmp_path)
    before = settings.config
    with pytest.raises(OSError, match="the disk hangs; check it; nothing is changed now"):
        settings.change({"decision.threshold": 0.25})
    with pytest.raises(OSError, match="the disk hangs with the change before"):
        settings.change({"decision.threshold": 0.5})
    assert settings.config == before
    let_go.set()
    settings._writer.join()
    settings.change({"decision.threshold": 0.75})
    assert settings.config.decision.threshold == 0.75
    assert Settings(configured(), tmp_path).config.decision.threshold == 0.75
