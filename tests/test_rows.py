"""What lies in the ledger's rows: read as it was written, or not at all."""

from __future__ import annotations

import msgspec
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


@given(number=NUMBERS, delivered=NUMBERS, verdict=st.sampled_from(Verdict), json=st.binary(max_size=500))
def test_a_row_is_read_as_it_was_written(number: int, delivered: int, verdict: Verdict, json: bytes) -> None:
    """Whatever is packed under a number comes back under it, byte for byte, as the verdict that it names."""
    written = Row(number, verdict, b'{"verdict":"%b"' % verdict.encode() + json, delivered)
    assert unpack_row(number, pack_row(written)) == written


@given(texts=st.lists(st.text(), min_size=5, max_size=5), verdict=st.sampled_from(Verdict))
@example(texts=['"verdict":"PASS"', "verdict", ':"PASS"', '{"verdict":"PASS"}', "\\"], verdict=Verdict.DEFECT)
def test_no_text_in_it_makes_it_another_verdict(texts: list[str], verdict: Verdict) -> None:
    """Whatever a source, a label or a reason is called, a row is the verdict that its event is."""
    names = dict(zip(("region", "trigger", "source", "reason", "label"), texts, strict=True))
    said = msgspec.structs.replace(
        event(7, verdict), **names, frame_verdict=Verdict.PASS, scores=dict.fromkeys(texts, 0.5)
    )
    assert unpack_row(7, pack_row(Row(7, Verdict.PASS, encode(said)))).verdict is verdict


@pytest.mark.parametrize("json", [b"", b"{}", b'{"verdict":"WORN"}', b'{"frame_verdict":"PASS"}', b'{"verdict":"'])
def test_what_names_no_verdict_is_damage(json: bytes) -> None:
    """Even with a checksum that is right."""
    with pytest.raises(DamagedLedgerError, match="row 7 "):
        unpack_row(7, pack_row(Row(7, Verdict.PASS, json)))


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
