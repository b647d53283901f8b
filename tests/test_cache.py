from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from training import cache

if TYPE_CHECKING:
    from pathlib import Path


def test_the_longest_unused_files_go_first(tmp_path: Path) -> None:
    """Over the limit the oldest are removed, and no more of them than it takes."""
    for age, name in enumerate(["new", "middle", "old"]):
        path = tmp_path / "sub" / name
        cache.write(path, b"x" * 10)
        os.utime(path, (1000 - age, 1000 - age))
    assert cache.prune(tmp_path, 25) == 1
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["middle", "new"]


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a write: the file is the old one or the new one, and nothing else lies about."""
    path = tmp_path / "file"
    cache.write(path, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cache.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_users_choice_of_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME moves the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("a", "b") == tmp_path / "edge-inspect" / "a" / "b"
