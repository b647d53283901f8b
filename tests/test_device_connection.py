"""The connection to a device over ssh, when it is broken off."""

from __future__ import annotations

import getpass
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from rigs import start_sshd

from deploy.device import Access, Device
from edge.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def reachable(folder: Path) -> Iterator[Access]:
    """Yield the way to this machine, by an sshd of its own."""
    sshd = start_sshd(folder)
    yield Access.parse(f"{getpass.getuser()}@127.0.0.1:{sshd.port}", key=sshd.key, known_hosts=sshd.known_hosts)
    sshd.process.terminate()
    sshd.process.wait(10)


@pytest.mark.parametrize("error", [EOFError(), OSError(), ConnectionResetError(104, "reset by peer")])
def test_a_connection_that_breaks_is_told(tmp_path: Path, error: Exception) -> None:
    """The one line says what was being done and why it ended, also where the library's own error has no text."""
    with reachable(tmp_path) as access, Device(access) as device:
        with pytest.raises(DeployError) as told, device._translated("lay out"):
            raise error
        assert str(told.value) == f"127.0.0.1: lay out: {str(error) or 'the connection broke'}"


def test_a_connection_that_ctrl_c_left_locked_is_let_go(tmp_path: Path) -> None:
    """Ctrl-C in the moment in which paramiko takes its lock on sending keeps no push from ending."""

    def break_off(access: Access) -> None:
        with suppress(KeyboardInterrupt), Device(access) as device:
            transport = device._host.connector.client.get_transport()
            channel = transport.open_session()
            device._host.disconnect = channel.close  # Stands for pyinfra, which drops its channels there.
            transport.clear_to_send_lock.acquire()
            raise KeyboardInterrupt

    with reachable(tmp_path) as access:
        thread = threading.Thread(target=break_off, args=[access], daemon=True)
        thread.start()
        thread.join(30)
    assert not thread.is_alive()
