"""What lies in the ledger, and how: as JSON, packed small, and checked when it is read.

Each row stands alone: whatever happens to other parts of the file, a row that can be read is right.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from edge.contract.json import NOT_JSON
from edge.contract.messages import Gap, Reason, Verdict
from edge.errors import DamagedLedgerError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge.ledger.audit import Audit

T = TypeVar("T")

VERDICTS = (Verdict.PASS, Verdict.UNKNOWN, Verdict.DEFECT)
"""By their numbers in the file."""

_KIND, _KINDS = b'"verdict":"', {verdict.encode(): verdict for verdict in VERDICTS}
"""How a verdict's JSON says what it is: to parse all of it would take as long again as to unpack it."""
DAMAGED: Reason = "damaged"
"""The reason in the gap records of verdicts that could not be read any more."""
LARGEST = 1 << 20
"""Bytes of one verdict's JSON: more than 10,000 classes. A damaged row may claim to unpack to anything."""
_RAW_DEFLATE = -15
"""RFC 1951 without zlib's header and checksum: ours covers the number too."""
_LEVEL = 6
_CHECK_BYTES = 4
_NUMBERS = 1 << 64
_VOCABULARIES = {
    1: b'"wait":0.0"preprocess":0.0"invoke":0.0"the classifier failed: not enough frames agree"UNKNOWN"DEFECT"chipped'
    b'"damaged"worn"ok"good"intact"region"camera":"station","time":"2026-01-01T00:00:00.000000Z","clock_synced":false,'
    b'"clock_synced":true,"camera":"camera","region":"whole","trigger":"free-1","source":"1","verdict":"DEFECT",'
    b'"frame_verdict":"DEFECT","reason":"","label":"defect","score":0.9,"scores":{"defect":0.9,"verdict":"UNKNOWN",'
    b'"frame_verdict":"UNKNOWN","reason":"no majority","label":null,"score":null,"scores":{},"threshold":0.5,'
    b'"model":null,"latency_ms":{"wait":0.1,"preprocess":0.0,"invoke":0.0,"total":0.1},"historical":false}{"id":"01K",'
    b'"seq":1,"boot_id":"01K","time":"2026-11-20T10:00:00.000000Z","clock_synced":true,"camera":"camera",'
    b'"region":"whole","trigger":"free-1","source":"1","verdict":"PASS","frame_verdict":"PASS","reason":"",'
    b'"label":"intact","score":0.99,"scores":{"intact":0.99,"damaged":0.00},"threshold":0.5,"model":"'
    b'","latency_ms":{"wait":1.0,"preprocess":3.0,"invoke":5.0,"total":9.0},"historical":false}',
}
"""What verdicts mostly consist of, the likeliest last (RFC 1950, 2.2 FDICT). Never change one: add the next number."""
_NEWEST = max(_VOCABULARIES)


class Row(Record, frozen=True):
    """One verdict: its number, what it says, and its JSON, byte for byte as it is published."""

    seq: int
    verdict: Verdict
    json: bytes
    delivered: int = 0
    """How far the broker had them when this was written: a mark of its own would cost a page with each commit."""


class Marks(Record, frozen=True):
    """How far it went: the number of the last verdict the broker acknowledged."""

    delivered: int = 0
    passed: int = 0
    """Up to here the broker had all that memory held, before delivering went back: nothing is missed there."""

    def further(self, other: Marks) -> Marks:
        """Return how far both together say that it went."""
        return Marks(max(self.delivered, other.delivered), max(self.passed, other.passed))


Numbering: TypeAlias = "Callable[[int], tuple[Sequence[Row], Sequence[Gap]]]"
"""Gives verdicts and gaps the numbers from this one on."""


def first_of(entry: Row | Gap) -> int:
    """Return the number of the first verdict that an entry stands for."""
    return entry.first if isinstance(entry, Gap) else entry.seq


def last_of(entry: Row | Gap) -> int:
    """Return the number of the last verdict that an entry stands for."""
    return entry.last if isinstance(entry, Gap) else entry.seq


def encode(number: int, value: Gap | Marks | Audit) -> bytes:
    """Return what the ledger stores for a gap, the marks or a command under this number."""
    return pack(number, msgspec.json.encode(value))


def decode(row: tuple[Any, object], kind: type[T]) -> T:
    """Return what was encoded, of a row's number and bytes; raises DamagedLedgerError for anything else."""
    return parse(row[0], unpack(*row), kind)


def parse(number: int, json: bytes, kind: type[T]) -> T:
    """Return what the JSON under a number says; raises DamagedLedgerError for what is nothing of this kind."""
    try:
        return msgspec.json.decode(json, type=kind)
    except NOT_JSON as error:
        raise DamagedLedgerError(f"row {number} is damaged ({error})") from error


def joined(one: Gap, other: Gap) -> Gap:
    """Return two gaps that touch as one."""
    counts = {v: one.verdicts.get(v, 0) + other.verdicts.get(v, 0) for v in VERDICTS}
    verdicts = {verdict: count for verdict, count in counts.items() if count}
    first, last = min(one.first, other.first), max(one.last, other.last)
    return Gap(first=first, last=last, reason=one.reason, verdicts=verdicts)


def need_order(rows: Iterable[tuple[Any, ...]], after: int, upto: int) -> None:
    """Raise DamagedLedgerError unless the numbers that rows begin with rise, all above `after` and up to `upto`.

    SQLite looks at a row's place only, not at its number: a damaged tree leads it back to rows that it gave before.
    """
    reached = after
    for number, *_ in rows:
        if not (isinstance(number, int) and reached < number <= upto):
            raise DamagedLedgerError(f"row {number} is damaged, or what leads to it: it is found behind {reached}")
        reached = number


def without_holes(entries: Iterable[Row | Gap], after: int, upto: int) -> Iterator[Row | Gap]:
    """Yield entries in order, with gaps for the numbers above `after` and up to `upto` that none stands for."""
    reached = after
    for entry in entries:
        if reached + 1 < first_of(entry):
            yield Gap(first=reached + 1, last=first_of(entry) - 1, reason=DAMAGED, verdicts={})
        yield entry
        reached = max(reached, last_of(entry))
    if reached < upto:
        yield Gap(first=reached + 1, last=upto, reason=DAMAGED, verdicts={})


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of neighbours in ascending numbers."""
    first = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield numbers[first], number
            first = at + 1


def parted(entries: Iterable[Row | Gap]) -> tuple[list[Row], list[Gap]]:
    """Return verdicts and gaps apart."""
    rows: list[Row] = []
    gaps: list[Gap] = []
    for entry in entries:
        if isinstance(entry, Gap):
            gaps.append(entry)
        else:
            rows.append(entry)
    return rows, gaps


def renumbered(entry: Row | Gap, seq: int) -> Row | Gap:
    """Return a verdict or a gap under other numbers, from this one on."""
    if isinstance(entry, Gap):
        return msgspec.structs.replace(entry, first=seq, last=seq + entry.last - entry.first)
    json = msgspec.json.encode({**msgspec.json.decode(entry.json), "seq": seq})
    return msgspec.structs.replace(entry, seq=seq, json=json)


def pack_row(row: Row) -> bytes:
    """Return what the ledger stores for a verdict."""
    return pack(row.seq, b"%d\n%b" % (row.delivered, row.json))


def unpack_row(number: int, body: object) -> Row:
    """Return the verdict that was packed; raises DamagedLedgerError for anything else."""
    delivered, _, json = unpack(number, body).partition(b"\n")
    if not delivered.isdigit():
        raise DamagedLedgerError(f"row {number} is damaged")
    at = json.find(_KIND) + len(_KIND)  # A string's own quotes have a backslash before them.
    if (verdict := _KINDS.get(json[at : json.find(b'"', at)])) is None:
        raise DamagedLedgerError(f"row {number} is damaged, or written by a newer version")
    return Row(number, verdict, json, int(delivered))


def pack(number: int, json: bytes) -> bytes:
    """Return what the ledger stores for a JSON text under this number."""
    packer = zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE, zdict=_VOCABULARIES[_NEWEST])
    packed = packer.compress(json) + packer.flush()
    return bytes([_NEWEST]) + _check(number, json) + packed


def unpack(number: object, body: object) -> bytes:
    """Return the JSON that was packed under this number; raises DamagedLedgerError for anything else.

    A damaged file gives a number or a text too, where its word for what kind of value follows is not right, and as a
    row's number anything.
    """
    if not (isinstance(number, int) and 0 <= number < _NUMBERS):
        raise DamagedLedgerError(f"a row is damaged: its number is {number}")
    if not isinstance(body, bytes) or (vocabulary := _VOCABULARIES.get(body[0] if body else 0)) is None:
        raise DamagedLedgerError(f"row {number} is damaged, or written by a newer version")
    check, packed = body[1 : 1 + _CHECK_BYTES], body[1 + _CHECK_BYTES :]
    try:
        json = zlib.decompressobj(_RAW_DEFLATE, zdict=vocabulary).decompress(packed, LARGEST)
    except zlib.error as error:
        raise DamagedLedgerError(f"row {number} is damaged ({error})") from error
    if check != _check(number, json):
        raise DamagedLedgerError(f"row {number} is damaged (its checksum is not right)")
    return json


def _check(number: int, json: bytes) -> bytes:
    return zlib.crc32(json, zlib.crc32(number.to_bytes(8, "big"))).to_bytes(_CHECK_BYTES, "big")
