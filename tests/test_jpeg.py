"""A JPEG that lacks bytes within it: refused wherever one is read, for its decoder would fill it up with grey."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.camera.decoding import Layout, decode
from edge.contract.jpeg import without_end
from edge.contract.pictures import load_picture
from edge.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.preprocess import Pixels

WIDTH, HEIGHT = 160, 128
LAYOUT = Layout(form="MJPEG", width=WIDTH, height=HEIGHT, stride=0)
KINDS: list[dict[str, Any]] = [
    {},
    {"quality": 20},
    {"quality": 100, "subsampling": 0},
    {"optimize": True},
    {"subsampling": 1},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
]


def noisy(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """A picture as a sensor gives it."""
    return np.random.default_rng(7).integers(90, 150, (height, width, 3), np.uint8)


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Pixels:
    return np.array(Image.open(BytesIO(data)))


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize(("begin", "end"), [(0.3, 0.5), (0.3, 0.6), (0.4, 0.98), (0.1, 0.2)])
def test_a_jpeg_with_a_hole_is_refused(tmp_path: Path, options: dict[str, Any], begin: float, end: float) -> None:
    """What a webcam sent, or a folder holds, without part of its middle is no picture, though its decoder gives one."""
    whole = jpeg(noisy(), **options)
    scan = whole.rfind(b"\xff\xda") + 14
    first, last = (scan + int(share * (len(whole) - scan)) for share in (begin, end))
    holed = whole[:first] + whole[last:]
    assert decoded(holed).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match=r"its JPEG is damaged .*; check its cable"):
        decode(holed, LAYOUT)
    (tmp_path / "a.jpg").write_bytes(holed)
    with pytest.raises(DataError, match=r"a\.jpg: not a readable picture"):
        load_picture(tmp_path / "a.jpg")


def test_a_file_of_several_jpegs_is_looked_at_too(tmp_path: Path) -> None:
    """Phones and stereo cameras write pictures behind the first, which Pillow calls MPO: a hole shows there as well."""
    buffer, pixels = BytesIO(), noisy()
    Image.fromarray(pixels).save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(pixels)])
    whole = buffer.getvalue()
    np.testing.assert_array_equal(load_picture(BytesIO(whole)), decoded(whole))
    scan = whole.find(b"\xff\xda") + 14
    size = whole.find(b"\xff\xd9", scan) - scan
    (tmp_path / "a.jpg").write_bytes(whole[: scan + size // 3] + whole[scan + size // 2 :])
    with pytest.raises(DataError, match=r"a\.jpg: not a readable picture"):
        load_picture(tmp_path / "a.jpg")


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    options=st.sampled_from([*KINDS, {"progressive": True}]),
    filling=st.binary(max_size=40),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
)
def test_a_whole_jpeg_keeps_every_pixel(
    size: tuple[int, int], options: dict[str, Any], filling: bytes, mode: str
) -> None:
    """Of any size and kind, and whatever follows it, it is decoded as it would be without that look."""
    buffer = BytesIO()
    Image.fromarray(noisy(*size)).convert(mode).save(buffer, "JPEG", **options)
    np.testing.assert_array_equal(decoded(without_end(buffer.getvalue() + filling)), decoded(buffer.getvalue()))


def test_a_large_file_behind_a_jpeg_is_not_read(tmp_path: Path) -> None:
    """A small picture in a file of 1 GB is read without that much memory."""
    (tmp_path / "a.jpg").write_bytes(jpeg(noisy()))
    os.truncate(tmp_path / "a.jpg", 1 << 30)
    tracemalloc.start()
    assert load_picture(tmp_path / "a.jpg").shape == (HEIGHT, WIDTH, 3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 26


@given(st.binary() | st.binary().map(lambda rest: b"\xff\xd8\xff" + rest))
def test_bytes_of_any_kind_are_looked_at(content: bytes) -> None:
    """What is no JPEG comes back as it is, or is refused: it is the decoder's to say so."""
    with suppress(ValueError):
        assert without_end(content).startswith(content[:2])
