from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InspectError
from training import cache, sealed

if TYPE_CHECKING:
    from pathlib import Path


@given(content=st.binary(max_size=200), cut=st.integers(0, 300), bit=st.integers(0, 8 * 232))
def test_damage_is_never_taken_for_content(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int, bit: int
) -> None:
    """A file that was saved is loaded as it was; one that was cut off or of which a bit changed is a ValueError."""
    path = tmp_path_factory.getbasetemp() / "saved"
    sealed.save(path, content)
    whole = path.read_bytes()
    assert sealed.load(path) == content
    flipped = bytearray(whole)
    flipped[bit // 8 % len(whole)] ^= 1 << bit % 8
    for damaged in (whole[: cut % len(whole)], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="it is damaged"):
            sealed.load(path)


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder can be made, the line says which variable names another place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        InspectError, match=r"file/edge-inspect cannot be written \(.*; make it a folder .*name another"
    ):
        sealed.save(cache.folder("features", "a"), b"x")
