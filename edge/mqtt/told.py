"""Topics on which something retained was said, in a small file: a later start can take it back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON

if TYPE_CHECKING:
    import re
    from collections.abc import Set as AbstractSet
    from pathlib import Path

log = logging.getLogger(__name__)

_LARGEST = 64 << 10
"""Bytes of the file."""


class Told:
    """Those of one form; what else is in the file is none of ours, and forgotten."""

    def __init__(self, path: Path, form: re.Pattern[str]) -> None:
        """Read the file. One that cannot be used counts as empty."""
        self._unread = self._unwritten = ""
        self._path = path
        self._kept: set[str] = set()
        """What is in the file."""
        try:
            self._kept = msgspec.json.decode(storage.read_plain(path, _LARGEST), type=set[str])
        except FileNotFoundError:
            pass
        except (OSError, *NOT_JSON) as error:
            self._unread = self._complain(error)
        self.topics: AbstractSet[str] = frozenset(filter(form.fullmatch, self._kept))
        """What was said, as far as it is remembered."""

    @property
    def trouble(self) -> str:
        """Why nothing was, or can be, remembered; empty if it can."""
        return self._unwritten or self._unread

    def keep(self, topics: AbstractSet[str]) -> None:
        """Have these on the disk, before anything is said on them; where that fails, the next call tries again."""
        self.topics = topics
        if topics == self._kept:
            return
        try:
            storage.replace_file(self._path, msgspec.json.encode(sorted(topics)))
        except OSError as error:
            self._unwritten = self._unwritten or self._complain(error)
            return
        self._kept, self._unwritten = set(topics), ""

    def _complain(self, error: Exception) -> str:
        trouble = f"{self._path} cannot be used ({error}): what was said under another name cannot be taken back"
        log.warning("%s", trouble)
        return trouble
