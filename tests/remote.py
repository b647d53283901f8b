"""How a test has something done in another process, where hardware is pretended."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def tell(address: Path, verb: str) -> None:
    """Have the process that listens there do something; returns when it is done."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(address))
        link.sendall(verb.encode())
        link.shutdown(socket.SHUT_WR)
        assert link.recv(10) == b"done"
