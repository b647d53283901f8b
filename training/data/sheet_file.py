"""Where a sheet of pictures may be written, and how: nothing but an earlier sheet is ever replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError
from training.data.dataset import require_outside

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MARK = "edge-train data sheet"
"""Written into every sheet: only a sheet is replaced by another."""
_MARK_WITHIN = 4096
"""Bytes of a file's beginning, where both formats have it."""
_QUALITY, _COMPRESSION = 92, 3
"""Of JPEG and of PNG: 6, the usual, takes twice as long for a tenth less."""


def require_room(out: Path, data: Path) -> None:
    """Raise ConfigError unless `out` is a picture's name, in a folder, where nothing but an earlier sheet lies."""
    if out.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--out {out}: a sheet is a picture; let its name end in {' or '.join(_FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: {out.parent} is no folder; make it or name another")
    require_outside(out, data)
    if (out.exists() or out.is_symlink()) and not _is_sheet(out):
        raise ConfigError(f"--out {out} is there and is no sheet of pictures; choose another name")


def _is_sheet(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN)
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror}; choose another name") from error
    return start.startswith((b"\x89PNG", b"\xff\xd8")) and _MARK.encode() in start


def save(image: Image, out: Path) -> None:
    """Write the sheet under a name of its own first: an earlier one stays until this one is whole."""
    from PIL.PngImagePlugin import PngInfo

    marks: dict[str, Any] = {
        "PNG": {"pnginfo": PngInfo(), "compress_level": _COMPRESSION},
        "JPEG": {"comment": _MARK, "quality": _QUALITY},
    }
    marks["PNG"]["pnginfo"].add_text("Software", _MARK)
    file_format = _FORMATS[out.suffix.lower()]
    unfinished = out.with_name(f".{out.name}")
    try:
        try:
            image.save(unfinished, file_format, **marks[file_format])
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {out}: {error.strerror or error}; make room or choose a folder you may write to"
        ) from error
