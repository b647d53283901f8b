"""What drivers leave in buffers, decoded: known colours, any stride, and no buffer that breaks the decoder."""

from __future__ import annotations

from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.camera.decoding import Colours, Layout, decode
from edge.errors import DataError
from edge.sections.cameras import PixelFormat

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

RAW = [form for form in get_args(PixelFormat) if form != "MJPEG"]
LINES = {"RGB24": 3, "BGR24": 3, "GREY": 1, "YUYV": 2, "UYVY": 2, "NV12": 1}
SIZES = st.integers(1, 9)


def to_yuv(rgb: Pixels, colours: Colours) -> Pixels:
    """Return Y, U and V as BT.601 and BT.709 define them, of [height, width, 3]."""
    red, green, blue = (rgb[:, :, channel] / 255 for channel in range(3))
    luma = colours.red * red + (1 - colours.red - colours.blue) * green + colours.blue * blue
    u, v = (blue - luma) / (2 * (1 - colours.blue)), (red - luma) / (2 * (1 - colours.red))
    scale = ((255, 0), (255, 128), (255, 128)) if colours.is_full_range else ((219, 16), (224, 128), (224, 128))
    planes = [part * gain + lift for part, (gain, lift) in zip((luma, u, v), scale, strict=True)]
    return np.clip(np.stack(planes, -1).round(), 0, 255).astype(np.uint8)


def lines(form: str, rgb: Pixels, colours: Colours) -> list[Pixels]:
    """Return the lines of a picture as a driver stores them; two by two pixels of it have one colour."""
    if form in {"RGB24", "BGR24"}:
        return list((rgb if form == "RGB24" else rgb[:, :, ::-1]).reshape(len(rgb), -1))
    if form == "GREY":
        return list(rgb[:, :, 0])
    yuv = to_yuv(np.pad(rgb, ((0, len(rgb) % 2), (0, rgb.shape[1] % 2), (0, 0)), "edge"), colours)
    y, u, v = yuv[:, :, 0], yuv[:, ::2, 1], yuv[:, ::2, 2]
    if form == "NV12":
        return [*y[: len(rgb), : rgb.shape[1]], *np.stack((u[::2], v[::2]), -1).reshape(len(y) // 2, -1)]
    places = (y[:, ::2], u, y[:, 1::2], v) if form == "YUYV" else (u, y[:, ::2], v, y[:, 1::2])
    return list(np.stack(places, -1).reshape(len(y), -1)[: len(rgb)])


def stored(rows: list[Pixels], stride: int) -> bytes:
    """Put lines `stride` bytes apart, with garbage between them; the last one ends where its pixels do."""
    return b"".join(row.tobytes().ljust(stride, b"\xaa") for row in rows[:-1]) + rows[-1].tobytes()


COLOURS = st.sampled_from([Colours(), Colours(0.2126, 0.0722), Colours(is_full_range=True), Colours(0.2627, 0.0593)])


@given(form=st.sampled_from(RAW), height=SIZES, width=SIZES, surplus=st.integers(0, 5), colours=COLOURS, data=st.data())
def test_each_format_comes_back_as_the_colours_it_was_made_of(  # noqa: PLR0913, PLR0917 - what may vary
    form: PixelFormat, height: int, width: int, surplus: int, colours: Colours, data: Any
) -> None:
    """Whatever the size, odd ones too, the stride and the encoding, red is red; rounding costs three steps at most."""
    shape = ((height + 1) // 2, (width + 1) // 2, 3)
    size = prod(shape)
    tiles = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)
    rgb = tiles.reshape(shape).repeat(2, 0).repeat(2, 1)[:height, :width]
    rows = lines(form, rgb, colours)
    stride = max(map(len, rows)) + surplus
    layout = Layout(form=form, width=width, height=height, stride=stride, colours=colours)
    pixels, order = decode(stored(rows, stride), layout)
    assert order == ("BGR" if form == "BGR24" else "RGB")
    if form == "GREY":
        assert np.array_equal(pixels, rgb[:, :, 0])
    else:
        found = pixels[:, :, ::-1] if order == "BGR" else pixels
        allowed = 0 if form in {"RGB24", "BGR24"} else 3
        assert np.abs(found.astype(int) - rgb).max() <= allowed
    assert pixels.flags.writeable


@given(form=st.sampled_from(get_args(PixelFormat)), content=st.binary(max_size=300), size=st.tuples(SIZES, SIZES))
def test_no_buffer_breaks_the_decoder(form: PixelFormat, content: bytes, size: tuple[int, int]) -> None:
    """Any bytes are a picture of the size that was asked for, or a DataError of one line."""
    layout = Layout(form=form, width=size[0], height=size[1], stride=LINES.get(form, 0) * size[0] + 1)
    try:
        pixels, _ = decode(content, layout)
    except DataError as refused:
        problem = str(refused)
    else:
        problem = ""
        assert pixels.shape[:2] == size[::-1]
        assert pixels.dtype == np.uint8
    assert "\n" not in problem


@pytest.mark.parametrize("form", RAW)
def test_a_buffer_that_lacks_one_byte_is_refused(form: PixelFormat) -> None:
    """Each format knows exactly how many bytes its picture takes."""
    rows = lines(form, np.zeros((4, 6, 3), np.uint8), Colours())
    whole = stored(rows, len(rows[0]) + 2)
    layout = Layout(form=form, width=6, height=4, stride=len(rows[0]) + 2)
    decode(whole, layout)
    with pytest.raises(DataError, match=f"{len(whole) - 1} of {len(whole)} bytes came"):
        decode(whole[:-1], layout)


def jpeg(width: int = 32, height: int = 16, **options: Any) -> bytes:
    """Encode a picture that is red on the left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 95} | options)
    return file.getvalue()


JPEG = Layout(form="MJPEG", width=32, height=16, stride=0)


def test_a_jpeg_is_decoded_and_may_be_followed_by_filling() -> None:
    """Red is red; what a camera appends up to its buffer's end is no damage."""
    pixels, order = decode(jpeg() + bytes(500), JPEG)
    assert order == "RGB"
    assert pixels[8, 4, 0] > 240
    assert pixels[8, 4, 2] < 20


def test_a_jpeg_without_tables_is_decoded_with_the_standards() -> None:
    """Many USB cameras leave out the Huffman tables, as AVI1 Motion JPEG does."""
    whole = jpeg()
    start = whole.index(b"\xff\xc4")
    bare = whole[:start]
    while whole[start : start + 2] == b"\xff\xc4":
        start += 2 + int.from_bytes(whole[start + 2 : start + 4], "big")
    assert np.array_equal(decode(bare + whole[start:], JPEG)[0], decode(whole, JPEG)[0])


@given(share=st.floats(0, 0.99))
def test_a_jpeg_that_was_cut_off_is_refused(share: float) -> None:
    """However much of it came, half a picture is none."""
    whole = jpeg()
    with pytest.raises(DataError, match="no end"):
        decode(whole[: int(len(whole) * share)], JPEG)


def test_a_jpeg_of_another_size_is_refused() -> None:
    """What is not the size that the camera granted says which it is."""
    with pytest.raises(DataError, match="64x16 instead of 32x16"):
        decode(jpeg(64), JPEG)


def test_a_grey_jpeg_has_three_channels() -> None:
    """A camera that leaves the colour out shows grey."""
    file = BytesIO()
    Image.new("L", (32, 16), 77).save(file, "JPEG")
    assert decode(file.getvalue(), JPEG)[0].shape == (16, 32, 3)
