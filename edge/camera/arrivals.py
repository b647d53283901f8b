"""Which pictures came into a folder since it was first looked at: by listing it, as network shares need it."""

from __future__ import annotations

import heapq
import os
import time
from array import array
from bisect import bisect_left
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from edge.contract.pictures import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_WAITING = 10_000
"""Pictures that are remembered by name; were there more, the others are found once these are judged."""
_KEY_MASK = 2**64 - 1


class Arrival:
    """A picture that came, as it was when it was last looked at."""

    def __init__(self, path: str) -> None:
        """Look for the first time; raises OSError as `look`."""
        state = _found(path)
        self.path = path
        self.key = _key(path)
        self.came = state.st_mtime_ns, path
        """By which it is sorted."""
        self.seen_at = self.changed_at = time.monotonic()
        self.try_at = 0.0
        """Before then it is not to be read again, on the monotonic clock."""
        self.is_still = False
        """Whether the last two looks found it alike."""
        self._state = _state(state)

    def look(self) -> None:
        """Look again; raises OSError where it is gone."""
        state = _state(found := _found(self.path))
        self.is_still = state == self._state
        if not self.is_still:
            self._state, self.changed_at = state, time.monotonic()
            self.came = found.st_mtime_ns, self.path  # Who copies a file gives it its time last.


class Arrivals:
    """The pictures of a folder that need a judgement; of the others 8 bytes each are kept, while they are there.

    A name needs none once it was judged, or if the first look found it. It is forgotten when two looks do not find it:
    some shares leave a name out of a list while others are renamed.
    """

    def __init__(self, folder: Path) -> None:
        """Look for the first time; raises OSError for a folder that cannot be read."""
        self._folder = str(folder)
        self._disk = _disk(self._folder)
        self._passed = self._before = _sorted(array("Q", map(_key, _pictures(self._folder))))
        self._judged: set[int] = set()
        """Since the last look."""
        self.waiting: dict[str, Arrival] = {}
        """By path."""

    def look(self) -> list[Arrival]:
        """Find what came, look at what waits, and return what waited and is gone. Raises OSError as creation."""
        if _disk(self._folder) != self._disk:
            raise OSError(0, "another disk than at first; mount its share again, or restart to watch what is there")
        found = array("Q")
        fresh = self._fresh(found)
        came = heapq.nsmallest(MOST_WAITING - len(self.waiting), fresh, key=lambda each: each.came)
        deque(fresh, maxlen=0)  # The rest: where nothing more is to be taken, nothing was looked at.
        gone = [each for each in self.waiting.values() if not _is_there(each)]
        for each in gone:
            del self.waiting[each.path]
        self.waiting |= {each.path: each for each in came}
        self._remember(_sorted(found))
        return gone

    def done(self, arrival: Arrival) -> None:
        """Need no judgement of this one any more."""
        self._judged.add(arrival.key)
        del self.waiting[arrival.path]

    def _fresh(self, found: array[int]) -> Iterator[Arrival]:
        """Yield what no look found before, and put the keys of everything into `found`."""
        for path in _pictures(self._folder):
            found.append(key := _key(path))
            if path in self.waiting or key in self._judged or _holds(self._passed, key):
                continue
            try:
                yield Arrival(path)
            except FileNotFoundError:
                continue  # Renamed since it was listed.

    def _remember(self, found: array[int]) -> None:
        known = np.union1d(_numbers(self._passed), np.fromiter(self._judged, np.uint64, len(self._judged)))
        there = np.union1d(_numbers(found), _numbers(self._before))
        self._passed = array("Q", np.intersect1d(known, there, assume_unique=True).tobytes())
        self._before = found
        self._judged.clear()


@cache
def arrivals(folder: Path) -> Arrivals:
    """Return a folder's, the same for as long as the process lives: a share that was away must not begin anew."""
    return Arrivals(folder)


def _disk(folder: str) -> int:
    """Return which disk a folder is on, by what is in it: where a share is mounted when somebody goes in, that does it.

    Until then its own name is on another disk.
    """
    return os.stat(os.path.join(folder, ".")).st_dev  # noqa: PTH116, PTH118 - a Path has no last dot


def _pictures(folder: str) -> Iterator[str]:
    """Yield every picture below a folder, as list_pictures finds them, but one after the other and in no order."""
    folders = [folder]
    while folders:
        place = folders.pop()
        try:
            entries = os.scandir(place)
        except FileNotFoundError:
            if place == folder:
                raise
            continue  # Removed since it was listed.
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif _is_picture(entry.name):
                    yield entry.path


def _is_picture(name: str) -> bool:
    """Say whether a file counts as a picture, as its Path's suffix would, in a third of the time."""
    _, dot, ending = name.rpartition(".")
    return bool(dot) and f".{ending.lower()}" in SUFFIXES


def _is_there(arrival: Arrival) -> bool:
    try:
        arrival.look()
    except FileNotFoundError:
        return False
    return True


def _found(path: str) -> os.stat_result:
    """Return what a file is, and of a link that leads in circles or where nobody may go what the link is.

    Such a one is a picture that cannot be read. Raises OSError for what is not there, or cannot be looked at itself.
    """
    try:
        return os.stat(path)  # noqa: PTH116 - of thousands at a time
    except FileNotFoundError:
        raise
    except OSError:
        if not os.path.islink(path):  # noqa: PTH114 - as above
            raise
        return os.lstat(path)


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _key(path: str) -> int:
    return hash(path) & _KEY_MASK


def _holds(keys: array[int], key: int) -> bool:
    place = bisect_left(keys, key)
    return place < len(keys) and keys[place] == key


def _sorted(keys: array[int]) -> array[int]:
    return array("Q", np.unique(_numbers(keys)).tobytes())


def _numbers(keys: array[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(keys, np.uint64) if keys else np.empty(0, np.uint64)
