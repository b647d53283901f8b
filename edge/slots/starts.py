"""Counts starts that ended without a word before their model had proven itself: killed, crashed, out of memory.

The count is by bundle, since the last start that ended well, and of one boot of the kernel, so that a power cut is no
start that failed. It is not synced to the disk: what the kernel holds outlives any process, and after a power cut it
counts no more. So a start waits for no disk here.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON

FILE = "starts.json"
_KERNEL = Path("/proc/sys/kernel/random/boot_id")
"""random(4): another one at each boot."""
_LARGEST = 16 << 10
"""Bytes of the file."""


class _Starts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kernel: str
    in_vain: dict[str, int]
    """By the SHA-256 of the bundle's manifest.json."""


def in_vain(folder: Path, bundle: str) -> int:
    """Return how many starts with this bundle ended so; 0 where nothing that can be used was written."""
    return max(0, _read(folder).get(bundle, 0))


def begin(folder: Path, bundle: str) -> int:
    """Count a start with this bundle as one that ended so, until it is forgotten; return how many did before it.

    Raises OSError if it cannot be written down.
    """
    before = in_vain(folder, bundle)
    _write(folder, _read(folder) | {bundle: before + 1})
    return before


def forget(folder: Path, bundle: str) -> None:
    """Count this one's from 0 again: it ended for a reason that it gave. Raises OSError."""
    _write(folder, {each: count for each, count in _read(folder).items() if each != bundle})


def forget_all(folder: Path) -> None:
    """Count from 0 again: the model has proven itself, or the start ended for another reason. Raises OSError."""
    (folder / FILE).unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, int]:
    try:
        starts = msgspec.json.decode(storage.read_plain(folder / FILE, _LARGEST), type=_Starts)
        return starts.in_vain if starts.kernel == _kernel() else {}
    except (OSError, *NOT_JSON):
        return {}


def _write(folder: Path, counts: dict[str, int]) -> None:
    storage.replace_file(folder / FILE, msgspec.json.encode(_Starts(_kernel(), counts)), synced=False)


def _kernel() -> str:
    return _KERNEL.read_text("ascii").strip()
