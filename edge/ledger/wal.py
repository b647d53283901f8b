"""Looks at a write-ahead log before SQLite does: SQLite passes over a damaged frame and all behind it without a word.

By "Database File Format", sqlite.org/fileformat2.html: 4.1 WAL file format, 4.2 checksum algorithm.
"""

from __future__ import annotations

import struct
from stat import S_ISREG
from typing import TYPE_CHECKING

from edge.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

PAGE = 512
"""Bytes of the file's pages. Each commit writes the whole last page to the log: it is what a verdict costs."""
HEADER_BYTES = 32
"""Magic, format version, page size, checkpoint number, two salts, two sums over what is before them; 4 bytes each."""
FRAME_BYTES = 24 + PAGE
"""Page number, pages of the file after a commit or 0, two salts, two sums; 4 bytes each, then the page."""
SALTS = slice(16, 24)
"""Of the log's head."""
_INDEX_BYTES, _INDEX_COUNT, _INDEX_SALTS = 48, 16, 32
"""Of the head of the log's index (sqlite.org/walformat.html, 2.1): its size, where the count and the salts are."""
_INDEX_MOVED = 96
"""Where the index says how many frames are in the file already (2.2, "WAL index checkpoint information")."""
_MAGIC = 0x377F0682
_WORDS = 0xFFFFFFFF


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of a file's log: shared memory, but a file that outlives a killed process."""
    return path.with_name(f"{path.name}-shm")


def need_plain_files(path: Path) -> None:
    """Raise LedgerError if something else than files has the names of a ledger's: a pipe would be waited for."""
    for each in (path, log_of(path), index_of(path)):
        if each.exists() and not each.is_file():
            raise LedgerError(f"{each} is no plain file; move it away")


def is_orphaned(path: Path) -> bool:
    """Say whether a log has frames, but its file is empty or gone: SQLite would remove the log without a word."""
    try:
        frames = log_of(path).stat().st_size >= HEADER_BYTES + FRAME_BYTES
    except FileNotFoundError:
        return False
    return frames and not (path.exists() and path.stat().st_size)


def may_hold_verdicts(path: Path) -> bool:
    """Say whether a file or its log is larger than what SQLite begins with; raises OSError if the disk does not tell.

    A full disk may keep it from more than that.
    """
    return _size(path) > PAGE or _size(log_of(path)) >= HEADER_BYTES + FRAME_BYTES


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return status.st_size if S_ISREG(status.st_mode) else 0


def is_whole(path: Path) -> bool:
    """Say whether SQLite will read all that was committed to a file's log; raises OSError if it cannot be read.

    A kill tears one frame at most, the last that was written: a commit behind a broken frame was there before. Whether
    the torn one was committed itself, only the index tells: it knows how many frames are, or were a while ago if it
    is older than the log, as after a power cut.
    """
    index = _index(path)  # First: what a running daemon commits meanwhile is in the log then.
    try:
        log = log_of(path).open("rb")
    except FileNotFoundError:
        return not _waits(index)
    with log:
        head = log.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            return not _waits(index)
        whole = _whole_frames(head, log)
        if whole < max(0, _committed(index, head[SALTS])):
            return False
        # A daemon that writes just now may have been quicker than this look.
        return not _commits(log, head[SALTS]) or _index(path) != index


def head_is_whole(head: bytes) -> bool:
    """Say whether these bytes are the head of a log of the ledger's."""
    if len(head) < HEADER_BYTES:
        return False
    magic, _, size, _ = struct.unpack_from(">4I", head)
    sums = _sums(head[:-8], _words(head), (0, 0))
    return magic & ~1 == _MAGIC and size == PAGE and struct.pack(">2I", *sums) == head[-8:]


def _whole_frames(head: bytes, log: BinaryIO) -> int:
    """Read to behind the first frame that is not whole and return how many were; -1: not even the head is."""
    sums = struct.unpack(">2I", head[-8:])
    for count, frame in enumerate(_frames(log)):
        if not count and not head_is_whole(head):
            return -1
        sums = _sums(frame[:8] + frame[24:], _words(head), sums)
        if frame[8:24] != head[SALTS] + struct.pack(">2I", *sums):
            return count
    return (log.tell() - HEADER_BYTES) // FRAME_BYTES


def _commits(log: BinaryIO, salts: bytes) -> bool:
    """Say whether one of the frames that follow ends a commit.

    Those with other salts are left over from before the log last began anew. Those of a transaction that was given up,
    as on a full disk, are no commits.
    """
    return any(frame[8:16] == salts and any(frame[4:8]) for frame in _frames(log))


def _frames(log: BinaryIO) -> Iterator[bytes]:
    while len(frame := log.read(FRAME_BYTES)) == FRAME_BYTES:
        yield frame


def _words(head: bytes) -> str:
    return ">" if head[3] & 1 else "<"


def _index(path: Path) -> bytes:
    """Return the two heads of the log's index and how much of it is in the file; nothing where there is no index."""
    try:
        with index_of(path).open("rb") as file:
            return file.read(2 * _INDEX_BYTES + 4)
    except OSError:
        return b""


def _is_sound(index: bytes) -> bool:
    """Say whether an index was not just being written: it has two equal copies of its head, and their sum."""
    one, other = index[:_INDEX_BYTES], index[_INDEX_BYTES : 2 * _INDEX_BYTES]
    return len(other) == _INDEX_BYTES and one == other and struct.pack("=2I", *_sums(one[:-8], "=", (0, 0))) == one[-8:]


def _committed(index: bytes, salts: bytes) -> int:
    """Return how many frames of the log are committed, as far as its index tells; 0 if it is of another log."""
    if not _is_sound(index) or index[_INDEX_SALTS : _INDEX_SALTS + 8] != salts:
        return 0
    return int(struct.unpack_from("=I", index, _INDEX_COUNT)[0])


def _waits(index: bytes) -> bool:
    """Say whether some of the log's frames are not in the file yet, by its index."""
    if not _is_sound(index) or len(index) < 2 * _INDEX_BYTES + 4:
        return False
    (committed,), (moved,) = (struct.unpack_from("=I", index, at) for at in (_INDEX_COUNT, _INDEX_MOVED))
    return bool(committed > moved)


def _sums(data: bytes, words: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, other = sums
    for first, second in struct.iter_unpack(f"{words}2I", data):
        one = one + first + other & _WORDS
        other = other + second + one & _WORDS
    return one, other
