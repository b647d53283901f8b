from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data import lettering


@given(text=st.text(max_size=80), room=st.floats(20, 400), bold=st.booleans())
def test_any_text_becomes_a_line_within_its_room(text: str, room: float, bold: bool) -> None:  # noqa: FBT001
    """Control characters, surrogates and letters that no font has included: one printable line, never too long."""
    letters = lettering.font(15, bold=bold)
    shown = lettering.fit(text, letters, room)
    assert shown.isprintable()
    assert letters.getlength(shown) <= room


@pytest.mark.parametrize(("text", "shown"), [("crack/1.png", "crack/1.png"), ("Ø 3 mm", "Ø 3 mm"), ("a\nb", "a\\nb")])
def test_what_fits_is_shown_whole(text: str, shown: str) -> None:
    """Letters of any script that the font has stay as they are; control characters are spelt out."""
    assert lettering.fit(text, lettering.font(15), 400) == shown


def test_long_names_keep_both_ends() -> None:
    """The middle is left out: names differ at their ends."""
    shown = lettering.fit("part-0001-" + "x" * 200 + "-left.png", lettering.font(15), 150)
    assert shown.startswith("part-")
    assert shown.endswith("left.png")
    assert "…" in shown
