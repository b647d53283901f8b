"""A bad network for tests: a TCP proxy that cuts links, lets them hang half-open, and delays what passes."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection by a reset."""
_CHUNK = 65_536
RETRANSMIT_SECONDS = 0.2
"""After which Linux sends a packet that was lost again, at least (TCP_RTO_MIN of net/tcp.h)."""


class Proxy:
    """Stands between clients and a port of this machine."""

    def __init__(
        self, target: int, *, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0, seed: int = 1
    ) -> None:
        """Forward to `target`; each direction takes `delay` seconds, give or take `jitter`, and keeps its order.

        A share `loss` of what passes comes late as if its packet had been lost once, and holds up what is behind it.
        """
        self._target = target
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._dice = random.Random(seed)  # noqa: S311 - weather, not a secret
        self._links: list[_Link] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self._thread.join()

    @property
    def links(self) -> int:
        """How many links there were."""
        return len(self._links)

    def cut(self) -> None:
        """End every link at once, with what is on its way."""
        for link in self._links:
            link.cut()

    def hang(self, *, up: bool = True, down: bool = True) -> None:
        """Swallow what passes on the present links, upwards, downwards or both, and tell neither side."""
        for link in self._links:
            link.swallow(up=up, down=down)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._links.append(_Link(client, server, self._wait))

    def _wait(self) -> float:
        again = RETRANSMIT_SECONDS + 2 * self._delay if self._dice.random() < self._loss else 0.0
        return max(0.0, self._delay + self._dice.uniform(-self._jitter, self._jitter)) + again


class _Link:
    """One client's connection and its way back."""

    def __init__(self, client: socket.socket, server: socket.socket, wait: Callable[[], float]) -> None:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends = client, server
        self._wait = wait
        self._swallowing = {client: False, server: False}
        for source, sink in ((client, server), (server, client)):
            queue: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threading.Thread(target=self._read, args=(source, queue), daemon=True).start()
            threading.Thread(target=self._write, args=(source, sink, queue), daemon=True).start()

    def cut(self) -> None:
        """End it by a reset on both sides."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def swallow(self, *, up: bool, down: bool) -> None:
        """Pass nothing on any more in these directions."""
        client, server = self._ends
        self._swallowing = {client: up, server: down}

    def _read(self, source: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            queue.put((time.monotonic() + self._wait(), data))

    def _write(self, source: socket.socket, sink: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
        while True:
            due, data = queue.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if self._swallowing[source]:
                if not data:
                    return
                continue
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return
