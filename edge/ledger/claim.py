"""Keeps other processes out of the ledger's folder: they would number verdicts too."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.errors import ClaimedLedgerError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Claim:
    """A folder that is this process's own. What is locked is the folder itself, whatever has its name later."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises ClaimedLedgerError if another process has it, LedgerError if the disk does not tell.

        Of the one a new start is the remedy too: what a hanging disk holds of a killed daemon ends with the hang.
        """
        self._folder = folder
        with self._translated():
            handle = os.open(folder, os.O_RDONLY)
            is_free = _locked(handle)
        if not is_free:
            problem = "is in use by another daemon, or by one that was killed while its disk hung"
            raise ClaimedLedgerError(f"state_dir {folder} {problem}; give each a folder of its own")
        self._handles = [handle]

    def renew(self) -> None:
        """Take the folder that has the name now, if it is another one; raises LedgerError if it cannot be had.

        Those before stay taken too: a file that is open may still be there, and the folder may be moved back.
        """
        with self._translated():
            present = self._folder.stat()
            if own := [each for each in self._handles if os.path.samestat(present, os.fstat(each))]:
                self._handles.sort(key=own.__contains__)  # The one that has the name is the last.
                return
            handle = os.open(self._folder, os.O_RDONLY)
            is_free = _locked(handle)
        if not is_free:
            problem = "was replaced, and another daemon uses what is there now; stop one of them"
            raise LedgerError(f"state_dir {self._folder} {problem}")
        self._handles.append(handle)

    def let_go_of_former(self) -> None:
        """Leave all but the folder that was taken last to others."""
        while len(self._handles) > 1:
            os.close(self._handles.pop(0))

    def close(self) -> None:
        """Leave the folder to others."""
        while self._handles:
            os.close(self._handles.pop())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(f"state_dir {self._folder} cannot be used ({error.strerror}); check the disk") from error


def _locked(handle: int) -> bool:
    """Lock a folder, or else let go of it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    except OSError:
        os.close(handle)
        raise
    return True
