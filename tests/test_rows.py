"""What lies in the ledger's rows: read as it was written, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_samples import event

from edge.contract.messages import Gap, Verdict, encode
from edge.errors import DamagedLedgerError
from edge.ledger.listing import event_of
from edge.ledger.retention import stamp_of
from edge.ledger.rows import Row, decode, pack, pack_row, unpack_row

NUMBERS = st.integers(0, (1 << 63) - 1)
NESTED = b"[" * 100_000


@given(number=NUMBERS, delivered=NUMBERS, json=st.binary(max_size=500))
def test_a_row_is_read_as_it_was_written(number: int, delivered: int, json: bytes) -> None:
    """Whatever is packed under a number comes back under it, byte for byte."""
    written = Row(number, Verdict.PASS, json, delivered)
    assert unpack_row(number, Verdict.PASS, pack_row(written)) == written


@given(number=NUMBERS, body=st.binary(max_size=500))
def test_other_bytes_are_damage(number: int, body: bytes) -> None:
    """Bytes that nobody packed are named as a damaged row."""
    with pytest.raises(DamagedLedgerError, match=f"row {number} "):
        decode((number, body), Gap)


@given(json=st.binary(max_size=200))
@example(json=NESTED)
@example(json=b'{"time":' + NESTED)
@example(json=b'{"id":"\xff"}')
def test_what_is_no_verdict_is_damage(json: bytes) -> None:
    """JSON of something else, nested ever so deep or no JSON at all, is named as a damaged row by each reader."""
    for read in (event_of, stamp_of):
        with pytest.raises(DamagedLedgerError, match="row 7 "):
            read(Row(7, Verdict.PASS, json))
    with pytest.raises(DamagedLedgerError, match="row 7 "):
        decode((7, pack(7, json)), Gap)


def test_a_verdict_is_parsed() -> None:
    """A verdict's JSON is the verdict again."""
    made = event(7)
    assert event_of(Row(7, made.verdict, encode(made))) == made
