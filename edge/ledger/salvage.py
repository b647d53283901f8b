"""Reads what is left of a damaged ledger, page by page, where SQLite gives up: a page needs no other to be read.

By "Database File Format", sqlite.org/fileformat2.html: 1.6 B-tree pages, 2.1 record format, 4 the write-ahead log.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, BinaryIO

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError
from edge.ledger.audit import Audit, Audited
from edge.ledger.rows import LARGEST, Marks, Row, decode, unpack, unpack_row
from edge.ledger.wal import FRAME_BYTES, HEADER_BYTES, PAGE, SALTS, head_is_whole, log_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FILE_HEADER = 100
_NUMBER_BYTES = 4
"""Of a page's number, at the head of a frame of the log and of an overflow page."""
_FRAME_HEAD = FRAME_BYTES - PAGE
_TABLE_LEAF = 13
_POINTERS = 8
"""Where a leaf's array of cell pointers begins."""
_MOST_LOCAL = PAGE - 35
_LEAST_LOCAL = (PAGE - 12) * 32 // 255 - 23
_FIRST_BLOB = 12
"""Serial types from here on that are even are blobs."""
_SMALL = {8: 0, 9: 1}
"""Serial types that are numbers themselves."""
_ONE_BYTE = 1


class _TornError(Exception):
    """Bytes that are no cell; the next one may be whole."""


def salvage(path: Path) -> Iterator[Row | Gap | Marks | Audited]:
    """Yield all that can be read of a file and its log, in no order, but earlier states of a thing after later ones.

    Raises OSError if the file or its log is there but cannot be read at all.
    """
    with ExitStack() as stack:
        pages = _Pages(stack.enter_context(path.open("rb")), _log(path, stack), _numbers(path))
        for page, at in pages.all():
            if page[at] == _TABLE_LEAF:
                yield from _entries(pages, page, at)


def _log(path: Path, stack: ExitStack) -> BinaryIO:
    try:
        return stack.enter_context(log_of(path).open("rb"))
    except FileNotFoundError:
        return BytesIO()


class _Pages:
    """The pages of a file and of its log; of those with one number the last in the log's present use is the newest."""

    def __init__(self, file: BinaryIO, log: BinaryIO, numbers: Iterable[int]) -> None:
        self._file, self._log, self._numbers = file, log, numbers
        self._present: list[int] = []
        self._stale: list[int] = []
        """Where frames are that are left over from before the log last began anew."""
        self._logged: dict[int, int] = {}
        salts = _present_salts(log)
        for at in _frames(log):
            head = _read(log, at, _FRAME_HEAD)
            if head[8:16] == salts:
                self._present.append(at)
                self._logged[int.from_bytes(head[:_NUMBER_BYTES])] = at + FRAME_BYTES - PAGE
            else:
                self._stale.append(at)

    def all(self) -> Iterator[tuple[bytes, int]]:
        """Yield each page and where its header begins, newer ones first."""
        yield from map(self._frame, reversed(self._present))
        for number in self._numbers:
            yield _read(self._file, (number - 1) * PAGE, PAGE), _header(number)
        yield from map(self._frame, reversed(self._stale))

    def _frame(self, at: int) -> tuple[bytes, int]:
        frame = _read(self._log, at, FRAME_BYTES)
        return frame[-PAGE:], _header(int.from_bytes(frame[:_NUMBER_BYTES]))

    def newest(self, number: int) -> bytes:
        """Return the newest page of this number; raises _TornError if there is none."""
        if number in self._logged:
            return _read(self._log, self._logged[number], PAGE)
        page = _read(self._file, (number - 1) * PAGE, PAGE) if number else b""
        if len(page) < PAGE:
            raise _TornError
        return page


def _numbers(path: Path) -> Iterator[int]:
    """Yield the numbers of a file's pages but for those in its holes, which may be larger than any disk (lseek(2))."""
    handle = os.open(path, os.O_RDONLY)
    try:
        at, size = 0, os.fstat(handle).st_size
        while at < size:
            begin = os.lseek(handle, at, os.SEEK_DATA)
            at = os.lseek(handle, begin, os.SEEK_HOLE)
            yield from range(begin // PAGE + 1, at // PAGE + 1)
    except OSError as error:
        if error.errno != errno.ENXIO:  # There is nothing more.
            raise
    finally:
        os.close(handle)


def _frames(log: BinaryIO) -> range:
    return range(HEADER_BYTES, log.seek(0, SEEK_END) - FRAME_BYTES + 1, FRAME_BYTES)


def _present_salts(log: BinaryIO) -> bytes:
    """Return the salts of the log's present use: those of its head, or if that is damaged of its first frame."""
    head = _read(log, 0, HEADER_BYTES)
    if head_is_whole(head):
        return head[SALTS]
    frames = (_read(log, at, _FRAME_HEAD)[8:16] for at in _frames(log))
    return next(filter(any, frames), b"")


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _header(number: int) -> int:
    return _FILE_HEADER if number == 1 else 0


def _entries(pages: _Pages, page: bytes, at: int) -> Iterator[Row | Gap | Marks | Audited]:
    count = int.from_bytes(page[at + 3 : at + 5])
    pointers = page[at + _POINTERS : at + _POINTERS + 2 * count]
    for pointer in range(0, len(pointers) - 1, 2):
        try:
            yield _entry(*_cell(pages, page, int.from_bytes(pointers[pointer : pointer + 2])))
        except (_TornError, DamagedLedgerError):
            continue


def _entry(number: int, columns: list[int | bytes]) -> Row | Gap | Marks | Audited:
    match columns:
        case [0, _, bytes(body)]:
            return unpack_row(number, body)
        case [0, bytes(body)]:
            json = unpack(number, body)
            if json.startswith(b'{"time":'):
                return Audited(number, decode((number, body), Audit))
            gap = json.startswith(b'{"first":')
            return decode((number, body), Gap) if gap else decode((number, body), Marks)
    raise _TornError


def _cell(pages: _Pages, page: bytes, at: int) -> tuple[int, list[int | bytes]]:
    """Read a table leaf's cell (1.6): its row number and its columns."""
    length, at = _varint(page, at)
    number, at = _varint(page, at)
    if length <= _MOST_LOCAL:
        return number, _columns(page[at : at + length])
    local = _LEAST_LOCAL + (length - _LEAST_LOCAL) % (PAGE - _NUMBER_BYTES)
    local = local if local <= _MOST_LOCAL else _LEAST_LOCAL
    payload, follows = page[at : at + local], page[at + local : at + local + _NUMBER_BYTES]
    while len(payload) < length <= LARGEST:
        beyond = pages.newest(int.from_bytes(follows))
        follows = beyond[:_NUMBER_BYTES]
        payload += beyond[_NUMBER_BYTES:]
    return number, _columns(payload[:length])


def _columns(payload: bytes) -> list[int | bytes]:
    """Read a record (2.1): its small numbers and its bytes, 0 for the row number's place."""
    end, at = _varint(payload, 0)
    columns: list[int | bytes] = []
    value = end
    while at < end:
        kind, at = _varint(payload, at)
        if kind >= _FIRST_BLOB:  # Or, where it is odd, a text: of as many bytes, and the same ones if it decayed.
            length = (kind - _FIRST_BLOB) // 2
            columns.append(payload[value : value + length])
        else:
            length = int(kind == _ONE_BYTE)
            columns.append(int.from_bytes(payload[value : value + length]) or _SMALL.get(kind, 0))
        value += length
    return columns


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 1 to 9 bytes (1.6) and where it ends; raises _TornError where there is none."""
    number = 0
    for count, byte in enumerate(data[at : at + 9], start=1):
        if count == 9:  # noqa: PLR2004 - the last byte has all eight bits
            return number << 8 | byte, at + count
        number = number << 7 | byte & 127
        if byte < 128:  # noqa: PLR2004 - the first bit says whether another byte follows
            return number, at + count
    raise _TornError
