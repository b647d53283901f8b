"""Which folders a daemon keeps from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.errors import ConfigError
from edge.ledger.claim import Claim

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_that_was_moved_back_is_ones_own(tmp_path: Path) -> None:
    """It was taken all the time, and still is when the one that had its name meanwhile is left to others."""
    folder, away, stopgap = tmp_path / "state", tmp_path / "away", tmp_path / "stopgap"
    folder.mkdir()
    claim = Claim(folder)
    folder.rename(away)
    folder.mkdir()
    claim.renew()
    folder.rename(stopgap)
    away.rename(folder)
    claim.renew()
    for taken in (folder, stopgap):
        with pytest.raises(ConfigError, match="in use by another daemon"):
            Claim(taken)
    claim.let_go_of_former()
    with pytest.raises(ConfigError, match="in use by another daemon"):
        Claim(folder)
    Claim(stopgap).close()
    claim.close()
    Claim(folder).close()
