"""Looks at a write-ahead log before SQLite does: SQLite passes over a damaged frame and all behind it without a word.

By "Database File Format", sqlite.org/fileformat2.html: 4.1 WAL file format, 4.2 checksum algorithm.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 512
"""Bytes of the file's pages. Each commit writes the whole last page to the log: it is what a verdict costs."""
HEADER_BYTES = 32
"""Magic, format version, page size, checkpoint number, two salts, two sums over what is before them; 4 bytes each."""
FRAME_BYTES = 24 + PAGE
"""Page number, pages of the file after a commit or 0, two salts, two sums; 4 bytes each, then the page."""
_INDEX_BYTES, _INDEX_COUNT, _INDEX_SALTS = 48, 16, 32
"""Of the head of the log's index (sqlite.org/walformat.html, 2.1): its size, where the count and the salts are."""
_MAGIC = 0x377F0682
_WORDS = 0xFFFFFFFF


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of a file's log: shared memory, but a file that outlives a killed process."""
    return path.with_name(f"{path.name}-shm")


def is_whole(path: Path) -> bool:
    """Say whether SQLite will read all that was committed to a file's log; raises OSError if it cannot be read.

    A kill may leave the head of a frame without its page. Only the index tells it from a damaged one: it knows how many
    frames are committed.
    """
    index = _index(path)  # First: what a running daemon commits meanwhile is in the log then.
    try:
        log = log_of(path).read_bytes()
    except FileNotFoundError:
        log = b""
    salts = log[16:24]
    whole = _whole_frames(log)
    committed = _committed(index, salts)
    if committed is not None:
        return whole >= committed
    if whole < 0:
        return False
    # A frame with other salts than the header's is left over from before the log last began anew: an end, no damage.
    behind = range(HEADER_BYTES + whole * FRAME_BYTES, len(log) - FRAME_BYTES + 1, FRAME_BYTES)
    return all(log[start + 8 : start + 16] != salts for start in behind)


def _whole_frames(log: bytes) -> int:
    """Return how many frames of the log's present use are whole, up to the first that is not; -1: not even its head."""
    if len(log) < HEADER_BYTES + FRAME_BYTES:
        return 0
    magic, _, size, _ = struct.unpack_from(">4I", log)
    words = ">" if magic & 1 else "<"
    sums = _sums(log[: HEADER_BYTES - 8], words, (0, 0))
    if magic & ~1 != _MAGIC or size != PAGE or struct.pack(">2I", *sums) != log[HEADER_BYTES - 8 : HEADER_BYTES]:
        return -1
    for count, start in enumerate(range(HEADER_BYTES, len(log) - FRAME_BYTES + 1, FRAME_BYTES)):
        frame = log[start : start + FRAME_BYTES]
        sums = _sums(frame[:8] + frame[24:], words, sums)
        if frame[8:24] != log[16:24] + struct.pack(">2I", *sums):
            return count
    return (len(log) - HEADER_BYTES) // FRAME_BYTES


def _index(path: Path) -> bytes:
    """Return the two heads of the log's index; nothing where there is none."""
    try:
        with index_of(path).open("rb") as file:
            return file.read(2 * _INDEX_BYTES)
    except OSError:
        return b""


def _committed(heads: bytes, salts: bytes) -> int | None:
    """Return how many frames of the log are committed, by its index; None: that is not there, or of another log."""
    one, other = heads[:_INDEX_BYTES], heads[_INDEX_BYTES:]
    sums = _sums(one[:-8], "=", (0, 0)) if len(one) == _INDEX_BYTES else (0, 0)
    if one != other or one[_INDEX_SALTS : _INDEX_SALTS + 8] != salts or struct.pack("=2I", *sums) != one[-8:]:
        return None  # Two equal copies and their sum: it was not being written just then.
    return int(struct.unpack_from("=I", one, _INDEX_COUNT)[0])


def _sums(data: bytes, words: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, other = sums
    for first, second in struct.iter_unpack(f"{words}2I", data):
        one = one + first + other & _WORDS
        other = other + second + one & _WORDS
    return one, other
