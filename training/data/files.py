"""What picture files are, beyond their pixels: read from their headers alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.contract.pictures import FORMATS, SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from training.data.dataset import Dataset

_ENDINGS = {
    "JPEG": {".jpg", ".jpeg"},
    "MPO": {".jpg", ".jpeg"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm"},
}
"""Of the formats whose endings are not their name."""
_TURNED = 0x0112
"""EXIF's tag Orientation; 1 is upright."""
_SIDEWAYS = (5, 6, 7, 8)
_UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One picture file."""

    format: str
    """Pillow's name, such as JPEG."""
    mode: str
    """Pillow's mode, such as RGB, L (grey), P (palette) or I;16."""
    width: int
    """Pixels, upright."""
    height: int
    misnamed: bool
    """Its ending says another format."""
    turned: bool
    """It is stored turned or mirrored and says so in its EXIF data."""
    alpha: bool
    deep: bool
    """It has 16 bits a channel."""

    @property
    def grey(self) -> bool:
        """Whether it has one channel."""
        return self.mode[0] in "1LI"


def left_out(folder: Path) -> tuple[list[str], list[str]]:
    """Return what `list_pictures` passes over: links to folders, and files with other endings; names below `folder`."""
    links, others = [], []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        seen = (Path(place, name) for name in names if not name.startswith("."))
        others += [path for path in seen if path.suffix.lower() not in SUFFIXES]
    # A class folder may be a link.
    inner = [path for path in links if path.parent != folder]
    linked, other = ([path.relative_to(folder).as_posix() for path in sorted(found)] for found in (inner, others))
    return linked, other


def describe_all(paths: Sequence[Path]) -> list[FileFacts]:
    """Describe files that `load_picture` could read, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_describe, paths))


def shallow(data: Dataset) -> list[str]:
    """Name the pictures of 16 bits a channel that use less than a quarter of them; headers of dark ones are read."""
    dark = [source for source in data.sources if source.path and source.name in data.dark]
    facts = describe_all([source.path for source in dark if source.path])
    return [source.name for source, fact in zip(dark, facts, strict=True) if fact.deep]


def _describe(path: Path) -> FileFacts:
    from PIL import Image

    with Image.open(path, formats=FORMATS) as image:
        kind = image.format or "?"
        orientation = _orientation(image)
        width, height = image.size[::-1] if orientation in _SIDEWAYS else image.size
        return FileFacts(
            format=kind,
            mode=image.mode,
            width=width,
            height=height,
            misnamed=path.suffix.lower() not in _ENDINGS.get(kind, {f".{kind.lower()}"}),
            turned=orientation != _UPRIGHT,
            alpha="A" in image.mode or "transparency" in image.info,
            # Of 16-bit colour only the decoder's arguments know: Pillow's mode for it is RGB.
            deep=image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile),
        )


def _orientation(image: Image) -> int:
    """Return EXIF's orientation, 1-8, as far as the header says: for a PNG more would mean to decode it."""
    if image.format == "PNG" and "exif" not in image.info:
        return _UPRIGHT
    found = image.getexif().get(_TURNED, _UPRIGHT)
    return found if isinstance(found, int) and found in range(1, 9) else _UPRIGHT
