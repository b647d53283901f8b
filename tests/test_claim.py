"""Which folders a daemon keeps from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import DEMO_BUNDLE
from device import assert_one_clear_line, run_inspect, write_config

from edge.errors import ClaimedLedgerError, LedgerError
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
        with pytest.raises(ClaimedLedgerError, match="in use by another daemon"):
            Claim(taken)
    claim.let_go_of_former()
    with pytest.raises(ClaimedLedgerError, match="in use by another daemon"):
        Claim(folder)
    Claim(stopgap).close()
    claim.close()
    Claim(folder).close()


def test_a_start_that_finds_the_folder_taken_is_one_of_those_that_are_tried_again(tmp_path: Path) -> None:
    """Who holds it may be a killed daemon that its disk has not let go of: systemd is not to give up for that."""
    (tmp_path / "state").mkdir()
    camera: dict[str, object] = {"kind": "synthetic"}
    config = write_config(tmp_path / "device.toml", bundle=DEMO_BUNDLE, camera=camera, mqtt={"port": 1})
    claim = Claim(tmp_path / "state")
    assert_one_clear_line(run_inspect("run", "--config", config), LedgerError.exit_code, "in use by another daemon")
    claim.close()


@pytest.mark.parametrize("call", ["os.open", "fcntl.flock"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk does not let it be claimed just then, a start ends with a line, and as what is tried again."""
    monkeypatch.setattr(f"edge.ledger.claim.{call}", lambda *_: (_ for _ in ()).throw(OSError(5, "EIO")))
    with pytest.raises(LedgerError, match=r"state_dir .* cannot be used \(EIO\); check the disk"):
        Claim(tmp_path)
