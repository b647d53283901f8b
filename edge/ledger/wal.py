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
_MAGIC = 0x377F0682
_WORDS = 0xFFFFFFFF


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return path.with_name(f"{path.name}-wal")


def is_whole(path: Path) -> bool:
    """Say whether SQLite will read all of a file's log; raises OSError if it cannot be read.

    A frame with other salts than the header's is left over from before the log last began anew: an end, no damage.
    """
    try:
        log = log_of(path).read_bytes()
    except FileNotFoundError:
        return True
    starts = range(HEADER_BYTES, len(log) - FRAME_BYTES + 1, FRAME_BYTES)
    if not starts:
        return True
    magic, _, size, _ = struct.unpack_from(">4I", log)
    words = ">" if magic & 1 else "<"
    sums = _sums(log[: HEADER_BYTES - 8], words, (0, 0))
    if magic & ~1 != _MAGIC or size != PAGE or struct.pack(">2I", *sums) != log[HEADER_BYTES - 8 : HEADER_BYTES]:
        return False
    salts = log[16:24]
    for start in starts:
        frame = log[start : start + FRAME_BYTES]
        sums = _sums(frame[:8] + frame[24:], words, sums)
        if frame[8:24] != salts + struct.pack(">2I", *sums):
            return all(log[later + 8 : later + 16] != salts for later in starts if later >= start)
    return True


def _sums(data: bytes, words: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, other = sums
    for first, second in struct.iter_unpack(f"{words}2I", data):
        one = one + first + other & _WORDS
        other = other + second + one & _WORDS
    return one, other
