"""What is drawn on the preview page, as text for the configuration."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import parse
from edge.errors import DataError
from edge.preview.drawn import to_toml
from edge.preview.turning import turned
from edge.regions import places

if TYPE_CHECKING:
    from edge.contract.preprocess import Rotation

ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
PATH = Path("device.toml")
SMALL = "part has no area within the picture; draw it larger"


def drawn(**values: Any) -> dict[str, Any]:
    """A region as the page sends it."""
    return {"name": "part", "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "rows": 1, "columns": 1, **values}


def read(text: str, rotate: Rotation = 0) -> Any:
    """Return the regions of a configuration that has this text in it."""
    camera = {"kind": "synthetic", "rotate": rotate}
    return parse({"bundle": "b", "camera": camera, **tomllib.loads(text)}, PATH).regions


def test_the_text_is_what_one_would_write() -> None:
    """A plain region names its sides only, a grid its rows and columns too."""
    text = to_toml(json.dumps([drawn(), drawn(name="tray", x=0, columns=3, rows=2)]), 0)
    plain = '[[regions]]\nname = "part"\nx = 0.1\ny = 0.2\nwidth = 0.3\nheight = 0.4\n'
    grid = '[[regions]]\nname = "tray"\nx = 0\ny = 0.2\nwidth = 0.3\nheight = 0.4\nrows = 2\ncolumns = 3\n'
    assert text == f"{plain}\n{grid}"


def refusal(data: str) -> str:
    """Return why it is refused; empty: it is not."""
    try:
        to_toml(data, 0)
    except DataError as error:
        return str(error)
    return ""


@given(
    st.tuples(*[st.floats(0, 1)] * 4),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from(ROTATIONS),
)
def test_what_is_drawn_is_what_is_judged(sides: tuple[float, ...], rows: int, columns: int, rotate: Rotation) -> None:
    """The configuration takes the text, and shows its regions, turned, where they were drawn; or it is one line."""
    x, y, width, height = sides
    data = json.dumps([drawn(x=x, y=y, width=width, height=height, rows=rows, columns=columns)])
    if min(width, height, 1 - x, 1 - y) < 2e-4:
        assert refusal(data) in ("", f"the regions cannot be used: {SMALL}")
        return
    text = to_toml(data, rotate)
    (found,) = read(text, rotate)
    shown = turned(found.area, rotate)
    wanted = (x, y, min(width, 1 - x), min(height, 1 - y))
    assert (shown.x, shown.y, shown.width, shown.height) == pytest.approx(wanted, abs=2e-4)
    cells = [turned(place.area, rotate) for place in places([found])]
    assert len({round(cell.x, 6) for cell in cells}) == columns
    assert len({round(cell.y, 6) for cell in cells}) == rows


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps)))
def test_anything_else_is_refused_in_one_line(data: str) -> None:
    """Whatever is sent, the answer is text for the configuration or one clear line."""
    assert refusal(data).isprintable()
    assert refusal(data) or read(to_toml(data, 0)) == ()


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([drawn(name='x"\n[mqtt]')], "is no name; use letters"),
        ([drawn(name="")], "is no name"),
        ([drawn(rows=30, columns=30)], "more than 400 cells"),
        ([drawn(rows=0)], ">= 1"),
        ([drawn(), drawn()], "two are named 'part'; name one otherwise"),
        ([drawn(x=1)], "no area within the picture; draw it larger"),
        ([drawn(x=None)], "Expected `float`"),
        ([drawn(colour="x")], "unknown field"),
    ],
)
def test_what_the_configuration_would_refuse_is_said_at_once(regions: list[dict[str, Any]], words: str) -> None:
    """The person who draws hears of it, not the one who starts the daemon."""
    with pytest.raises(DataError, match="the regions cannot be used: ") as caught:
        to_toml(json.dumps(regions), 0)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
