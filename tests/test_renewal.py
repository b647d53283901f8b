"""Passwords and certificates that change under a running device: it goes on, and takes the new ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from certificates import Authority
from conftest import make_broker
from puppet import Puppet
from spark_host import until
from test_publisher import Line

if TYPE_CHECKING:
    import pytest


def test_a_password_file_that_is_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While a connection ends: the device says so once, tries again, and delivers when the file is back."""
    password, moved = tmp_path / "password", tmp_path / "moved"
    password.write_text("secret\n")
    with Puppet() as broker:
        line = Line(tmp_path, broker.port, username="dut", password_file=str(password))
        line.judge(1)
        broker.wait(lambda b: b.named("event"))
        password.rename(moved)
        broker.cut()
        until(lambda: line.publisher.link.failed >= 2)
        line.publisher.report("camera", "")  # Raises what ended the sender.
        line.judge(1)
        moved.rename(password)
        broker.wait(lambda b: len(b.named("event")) > 1)
        line.stop(10)
    warned = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len([each for each in warned if str(password) in each]) == 1


def test_a_certificate_that_is_there_before_its_key_is_waited_for(tmp_path: Path) -> None:
    """Renewed by hand, while the broker takes up again: the device connects with the new ones once both are there."""
    authority = Authority(tmp_path, "factory-ca")
    certificate, key = authority.issue("broker")
    files = (f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}")
    broker = make_broker(tmp_path, *files, "require_certificate true", "allow_anonymous true")
    broker.start()
    names = dict(zip(("cert_file", "key_file"), map(str, authority.issue("device")), strict=True))
    line = Line(tmp_path, broker.port, tls=True, ca_file=str(authority.certificate), **names)
    line.judge(1)
    until(lambda: line.ledger.waiting == 0)
    broker.stop()
    key, old = Path(names["key_file"]), Path(names["key_file"]).read_bytes()
    authority.issue("device")
    new = key.read_bytes()
    key.write_bytes(old)
    failed = line.publisher.link.failed
    broker.start()
    until(lambda: line.publisher.link.failed > failed)
    line.judge(1)
    key.write_bytes(new)
    until(lambda: line.ledger.waiting == 0)
    assert line.stop(10) == 0
    broker.stop()
