"""The connection to a device over ssh, when it is broken off."""

from __future__ import annotations

import getpass
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from rigs import start_sshd

from deploy.device import Access, Device

if TYPE_CHECKING:
    from pathlib import Path


def test_a_connection_that_ctrl_c_left_locked_is_let_go(tmp_path: Path) -> None:
    """Ctrl-C in the moment in which paramiko takes its lock on sending keeps no push from ending."""
    sshd = start_sshd(tmp_path)
    login = f"{getpass.getuser()}@127.0.0.1:{sshd.port}"
    access = Access.parse(login, key=sshd.key, known_hosts=sshd.known_hosts)

    def break_off() -> None:
        with suppress(KeyboardInterrupt), Device(access) as device:
            transport = device._host.connector.client.get_transport()
            channel = transport.open_session()
            device._host.disconnect = channel.close  # Stands for pyinfra, which drops its channels there.
            transport.clear_to_send_lock.acquire()
            raise KeyboardInterrupt

    thread = threading.Thread(target=break_off, daemon=True)
    thread.start()
    thread.join(30)
    sshd.process.terminate()
    sshd.process.wait(10)
    assert not thread.is_alive()
