"""Picture files to RGB pixels, the same for training, the folder camera and `edge-inspect once`."""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import numpy as np

from edge.contract.jpeg import without_end
from edge.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from edge.contract.preprocess import Pixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif"})
"""What counts as a picture in a folder, by its lower-case ending."""
_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "BMP": "Bmp", "TIFF": "Tiff", "WEBP": "WebP", "PPM": "Ppm", "GIF": "Gif"}
FORMATS = tuple(_PLUGINS)
"""What a picture may be inside: no other plugin of Pillow's sees a stranger's file."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded; no inspection camera makes them."""

_HEADERS_BYTES, _JPEG_BYTES = 1 << 24, 8
"""What stands before a JPEG's pixels at most, and a pixel of it: noise of four channels at full quality takes 7.6."""


def list_pictures(folder: Path) -> list[Path]:
    """Every picture below a folder, by ending, in sorted order.

    Hidden files and folders and links to folders are left out. A link to nowhere is a picture that cannot be read.

    Raises DataError, naming it, for a folder that cannot be read: a search would silently pass over it.
    """
    found = []
    try:
        for place, folders, files in os.walk(folder, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(place, name) for name in files if not name.startswith("."))
            # lstat: a folder whose files may not be looked at is an error here, not one for each of them.
            found += [path for path in paths if path.suffix.lower() in SUFFIXES and path.lstat()]
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        remedy = "name a folder of pictures" if missing else "let this user read it, or take it away"
        raise DataError(f"{error.filename}: {error.strerror}; {remedy}") from error
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise error


def load_picture(source: Path | BinaryIO) -> Pixels:
    """Read a picture file as RGB: uint8 [height, width, 3], upright by its EXIF orientation.

    Grey, palette, CMYK, transparent (alpha dropped) and 16-bit pictures (by their high byte, whatever range they
    use: 12 bits that nobody scaled are nearly black) are converted; of an animation the first picture counts.
    Raises DataError, naming the file, for one that is missing, damaged, too large, of 32 bits or no picture.
    """
    from PIL import Image, ImageOps

    # Pillow warns of much that is odd in a stranger's file; what matters here ends as DataError.
    warnings.filterwarnings("ignore", module="PIL")
    name = source if isinstance(source, Path) else "picture"
    try:
        _require_regular(source)
        _load_plugins()
        with Image.open(source, formats=FORMATS) as image:
            _require_size(image)
            whole = _whole(image)
            ImageOps.exif_transpose(whole, in_place=True)
            return np.array(_to_rgb(whole))
    except FileNotFoundError:
        raise DataError(f"{name}: no such picture") from None
    except Exception as error:
        # A decoder raises whatever a damaged file makes of it: OSError, SyntaxError, struct.error, ...
        raise DataError(f"{name}: not a readable picture ({_reason(error)})") from error


@cache
def _load_plugins() -> None:
    """Load the plugins for FORMATS. Left to itself, Pillow loads all its forty to find one of them."""
    for name in _PLUGINS.values():
        import_module(f"PIL.{name}ImagePlugin")


def _require_regular(source: Path | BinaryIO) -> None:
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise ValueError("not a regular file")  # A pipe would be waited for without end.


def _require_size(image: Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} is above the limit of {MAX_PIXELS} pixels")


def _whole(image: Image) -> Image:
    """Return a picture whose decoder fails where part of it is missing, and makes nothing up; raises ValueError."""
    from PIL.Image import open as open_image
    from PIL.ImageFile import ImageFile

    if not isinstance(image, ImageFile) or image.format not in {"JPEG", "MPO"} or image.fp is None:
        return image
    image.fp.seek(0)
    most = _HEADERS_BYTES + _JPEG_BYTES * image.width * image.height  # Nothing of what may be behind.
    return open_image(BytesIO(without_end(image.fp.read(most))), formats=("JPEG",))


def _to_rgb(image: Image) -> Image:
    from PIL.Image import fromarray

    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("nobody knows the range of 32-bit pixels: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # Pillow itself would clip 16-bit values to 255.
        return fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "damaged, or none of " + ", ".join(FORMATS)
    return " ".join(str(error).split()) or type(error).__name__
