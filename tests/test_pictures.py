"""Picture files to RGB pixels: every kind that shops have, and every kind of damage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.contract.pictures import FORMATS, SUFFIXES, list_pictures, load_picture
from edge.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.preprocess import Pixels

WIDTH, HEIGHT = 12, 8


def colours() -> Pixels:
    """A red left half and a blue right half; its first row is white."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 2, 0] = 255
    pixels[:, WIDTH // 2 :, 2] = 255
    pixels[0] = 255
    return pixels


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def saved(folder: Path, name: str, image: Image.Image, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.gif", "a.WEBP"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str) -> None:
    """R, G, B come out as they went in, not mirrored, not turned."""
    path = saved(tmp_path, name, Image.fromarray(colours()), **({"lossless": True} if name == "a.WEBP" else {}))
    np.testing.assert_array_equal(load_picture(path), colours())


def test_the_result_is_the_callers_own(tmp_path: Path) -> None:
    """The pixels are contiguous and writable."""
    pixels = load_picture(saved(tmp_path, "a.png", Image.fromarray(colours())))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda p: p),
        (2, np.fliplr),
        (3, lambda p: np.rot90(p, 2)),
        (4, np.flipud),
        (5, lambda p: p.swapaxes(0, 1)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(p, 2).swapaxes(0, 1)),
        (8, lambda p: np.rot90(p, 1)),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_exif_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int, upright: Any) -> None:
    """Each of the eight EXIF orientations shows the picture upright, as its tag says (EXIF 2.3, tag 274)."""
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path, name, Image.fromarray(colours()), exif=exif)
    np.testing.assert_array_equal(load_picture(path), upright(colours()))


def test_sixteen_bit_grey_is_scaled_by_its_high_byte(tmp_path: Path) -> None:
    """A 16-bit picture keeps its brightness; a dark one stays dark."""
    for name in ("a.png", "a.tif", "a.pgm"):
        for values in ([0, 255, 256, 65535], [0, 1, 100, 255]):
            path = saved(tmp_path, name, Image.fromarray(np.array([values], np.uint16)))
            assert load_picture(path)[0, :, 1].tolist() == [value >> 8 for value in values], name


def test_pixels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    """A 32-bit picture does not say what white is: it is refused, not guessed."""
    for kind in (np.float32, np.int32):
        path = saved(tmp_path, "a.tif", Image.fromarray(np.ones((2, 2), kind)))
        with pytest.raises(DataError, match=r"a\.tif: not a readable picture \(nobody knows the range of 32-bit"):
            load_picture(path)


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    """Grey, black-and-white, palette, grey with alpha and colour with alpha pictures show the same colours."""
    grey = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[np.newaxis], HEIGHT, axis=0)
    expected = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    for mode in ("L", "LA", "RGBA", "P"):
        path = saved(tmp_path, f"{mode}.png", Image.fromarray(grey).convert(mode))
        np.testing.assert_array_equal(load_picture(path), expected, mode)
    bits = saved(tmp_path, "1.png", Image.fromarray(grey).convert("1", dither=Image.Dither.NONE))
    assert set(np.unique(load_picture(bits))) == {0, 255}


def test_a_transparent_palette_keeps_its_colours_without_a_warning(tmp_path: Path) -> None:
    """A palette with an alpha value for each entry loses the alpha only."""
    image = Image.fromarray(colours()).quantize(4)
    path = saved(tmp_path, "a.png", image, transparency=bytes([0, 128, 255, 255]))
    with warnings.catch_warnings(record=True) as caught:
        np.testing.assert_array_equal(load_picture(path), np.asarray(image.convert("RGB")))
    assert caught == []


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    """A CMYK JPEG's red stays red."""
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    assert load_picture(saved(tmp_path, "a.jpg", red))[8, 8] == pytest.approx((255, 0, 0), abs=4)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    """A JPEG called .png is read as what it is."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (16, 16), (0, 200, 0)), "JPEG"))
    assert load_picture(path)[8, 8] == pytest.approx((0, 200, 0), abs=4)


def test_a_format_that_is_not_listed_is_no_picture(tmp_path: Path) -> None:
    """Pillow's other readers, such as the one that starts Ghostscript, never see a file."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(DataError, match=r"a\.png: not a readable picture \(damaged, or none of"):
        load_picture(path)


def test_a_folder_that_may_not_be_read_is_not_passed_over(ordinary_user: Path) -> None:
    """A subfolder without permission is an error that names it, never fewer pictures."""
    (ordinary_user / "sub").mkdir(mode=0o000)
    (ordinary_user / "a.png").touch()
    with pytest.raises(DataError, match="sub: Permission denied; let this user read it"):
        list_pictures(ordinary_user)
    (ordinary_user / "sub").chmod(0o700)
    (ordinary_user / "sub" / "b.png").touch()
    (ordinary_user / "sub").chmod(0o400)  # Its names may be read, what they stand for may not.
    with pytest.raises(DataError, match=r"b\.png: Permission denied; let this user read it"):
        list_pictures(ordinary_user)
    (ordinary_user / "sub").chmod(0o700)


def test_only_the_listed_readers_are_loaded(tmp_path: Path) -> None:
    """Pillow's other readers are not even imported."""
    saved(tmp_path, "a.png", Image.new("RGB", (8, 8)))
    code = (
        "import sys; from pathlib import Path; from edge.contract.pictures import load_picture; "
        f"load_picture(Path({str(tmp_path / 'a.png')!r})); "
        "print(*sorted(name for name in sys.modules if name.startswith('PIL.') and name.endswith('Plugin')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == [f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP")]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and that holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width", [10_001, 15_000, 30_000, 65_000])
def test_a_huge_picture_is_refused_before_decoding(tmp_path: Path, width: int) -> None:
    """A claimed size above the limit is a DataError at once, and Pillow's own warning does not leak."""
    path = tmp_path / "a.png"
    path.write_bytes(png_of_size(width, 10_000))
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, pytest.raises(DataError, match=r"limit of \d+ pixels"):
        load_picture(path)
    assert time.perf_counter() - started < 1
    assert caught == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a DataError with its path; so is a folder."""
    with pytest.raises(DataError, match=r"gone\.png: no such picture"):
        load_picture(tmp_path / "gone.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_picture(tmp_path)


REAL = {
    form: encoded(Image.fromarray(np.arange(24 * 20 * 3, dtype=np.uint8).reshape(24, 20, 3)), form) for form in FORMATS
}
HEADS = [b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"GIF89a", b"P5 ", b"RIFF\x10\0\0\0WEBPVP8 "]


def outcome(data: bytes) -> str:
    """Read a picture: "RGB", or the line of the DataError; anything else that is raised goes on."""
    try:
        pixels = load_picture(io.BytesIO(data))
    except DataError as error:
        return str(error)
    assert pixels.shape[2:] == (3,)
    return "RGB"


@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(head: bytes, tail: bytes) -> None:
    """Whatever follows a format's first bytes, it is a picture or a DataError of one line."""
    found = outcome(head + tail)
    assert found == "RGB" or (" " in found and "\n" not in found)


@settings(max_examples=300)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_pictures_raise_nothing_else(form: str, data: st.DataObject) -> None:
    """A real picture of each format, cut off or with bytes changed, gives pixels or DataError."""
    raw = bytearray(REAL[form])
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = outcome(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    assert found == "RGB" or (" " in found and "\n" not in found)


def test_a_folder_is_listed_by_name_without_hidden_files(tmp_path: Path) -> None:
    """Every known ending in any case, in subfolders too, in the order of names; nothing hidden, no folders."""
    names = [f"{number:02}{suffix.upper() if number % 2 else suffix}" for number, suffix in enumerate(sorted(SUFFIXES))]
    for name in [*names, "sub/x.png", ".hidden/x.png", ".x.png", "notes.txt", "sub/y.jpg.part"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    assert list_pictures(tmp_path) == [tmp_path / name for name in [*names, "sub/x.png"]]


def test_a_picture_that_is_not_there_is_one_that_cannot_be_read(tmp_path: Path) -> None:
    """A link to nowhere, such as of pictures that were not fetched, and a pipe are listed, and named as unreadable."""
    (tmp_path / "away.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [path.name for path in list_pictures(tmp_path)] == ["away.png", "pipe.png"]
    for path in list_pictures(tmp_path):
        with pytest.raises(DataError, match=path.name):
            load_picture(path)
