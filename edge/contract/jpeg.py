"""Whether all of a JPEG is there: where bytes are missing within it, its decoder makes pixels up and says nothing."""

from __future__ import annotations

import re

_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_RESTARTS = 8
"""They are numbered in turn (ITU-T T.81, B.2.1)."""
_FILLING, _SCAN, _SEQUENTIAL = b"\xff", b"\xda", (b"\xc0", b"\xc1")
"""What may stand before any mark; the marks of a scan, and of a picture that needs but one, in Huffman's code."""
_LOOKED_AHEAD = b"\xff\x00" * 8
"""64 bits, by which the decoder looks ahead. Ones are no code: it makes two blocks of 8 x 8 pixels of them at most."""


def without_end(data: bytes) -> bytes:
    """Return a JPEG up to its end mark, behind which its decoder fills up; it then fails where pixels are missing.

    What has its pixels in several scans, such as a progressive JPEG, or is none, is returned as it is. Raises
    ValueError where a restart mark is missing: there the decoder begins anew, whatever came before.
    """
    begin = _begin_of_only_scan(data)
    if not begin or (end := _END_OF_SCAN.search(data, begin)) is None:
        return data
    marks = b"".join(_RESTART.findall(data, begin, end.start()))
    if any(mark % _RESTARTS != place % _RESTARTS for place, mark in enumerate(marks)):
        raise ValueError("a part within it is missing")
    return data[: end.start()] + _LOOKED_AHEAD


def _begin_of_only_scan(data: bytes) -> int:
    """Return where the pixels begin, if they do but once and in a code that shows what is missing; else 0."""
    place, channels = 2, b""
    while data[place : place + 1] == _FILLING:
        kind, said = data[place + 1 : place + 2], data[place + 2 : place + 12]
        after = place + 2 + int.from_bytes(said[:2], "big")
        if kind == _SCAN:
            return after if channels and said[2:3] == channels else 0
        if kind in _SEQUENTIAL:
            channels = said[7:8]
        place = place + 1 if kind == _FILLING else after
    return 0
