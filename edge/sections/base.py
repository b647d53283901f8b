"""What each table of the configuration file is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of every table in the file."""


def doc(text: str, **limits: Any) -> msgspec.Meta:
    """Describe a key, and limit its values."""
    return msgspec.Meta(description=text, **limits)


def to_path(base: Path, text: str) -> Path:
    """Return a path that counts from a folder; raises ValueError for what is none."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a path")
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r} names no user of this device") from error
