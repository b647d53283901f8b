"""What a site, a device, a camera or a host may be called."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Names become topic levels: no slash, no wildcard, no space."""
WHOLE_NAME = rf"^{NAME}\Z"
"""For texts of a configuration file."""
NAME_PATTERN = f"^{NAME}$"
"""The same for JSON Schemas, whose $ matches at the very end only; Python's would let a line's end through."""

CommandName: TypeAlias = Literal[
    "capture",
    "pause",
    "resume",
    "threshold",
    "config",
    "history",
    "replay",
    "health",
    "model",
    "restart",
    "trigger",
]
"""What may be asked of a device; edge.contract.commands has what each takes."""

_HOST = re.compile(r"[^\s/@\[\]\x00-\x1f]+")


def is_clean(text: str) -> bool:
    """Say whether a text has no control characters: nothing that would move a terminal's cursor or break a line."""
    return all(unicodedata.category(character) != "Cc" for character in text)


def is_host(text: str) -> bool:
    """Say whether a text may be a host's name, or an IPv4 or IPv6 address without brackets."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    if ":" not in text:
        return bool(_HOST.fullmatch(text))
    from ipaddress import IPv6Address  # Few need it.

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
