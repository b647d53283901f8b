"""Picture files to RGB pixels, the same for training, the folder camera and `edge-inspect once`."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from edge.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from edge.contract.preprocess import Pixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif"})
"""What counts as a picture in a folder, by its lower-case ending."""
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
"""What a picture may be inside: no other plugin of Pillow's sees a stranger's file."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded; no inspection camera makes them."""


def list_pictures(folder: Path) -> list[Path]:
    """Every picture below a folder, by ending, in sorted order; hidden files and folders are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def load_picture(path: Path | BinaryIO) -> Pixels:
    """Read a picture (a file, or an open one) as RGB: uint8 [height, width, 3], upright by its EXIF orientation.

    Grey, palette, 16-bit, CMYK and transparent pictures are converted (16-bit by its high byte).
    Raises DataError, naming the file, for one that is missing, damaged, too large or no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as image:
            _require_size(image, path)
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such picture") from None
    except Exception as error:
        # A decoder raises whatever a damaged file makes of it: OSError, SyntaxError, struct.error, ...
        raise DataError(f"{path}: not a readable picture ({_reason(error)})") from error


def _require_size(image: Image, path: Path | BinaryIO) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{path}: {image.width}x{image.height} is above the limit of {MAX_PIXELS} pixels")


def _to_rgb(image: Image) -> Image:
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class

    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips 16-bit values to 255 instead of scaling them.
        wide = np.asarray(image, dtype=np.float64)
        scaled = wide / 257 if wide.size and wide.max() > np.iinfo(np.uint8).max else wide
        return pillow.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.partition(":")[0] if "cannot identify" in text else text or type(error).__name__
