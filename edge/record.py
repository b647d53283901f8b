"""Plain data in memory, for classes that a start on the device imports."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True):
    """The base of frozen data classes. A dataclass does the same, but its making takes ten times as long.

    Give `frozen=True` again in each subclass: type checkers do not inherit it.
    """
