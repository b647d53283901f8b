"""A broker on a real socket that answers as a test says: what no mosquitto can be made to do. It speaks MQTT 5."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import IO, TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

HANG_UP = -1
_PUBACK, _UNSUBACK = 0x40, 0xB0
MAXIMUM_PACKET_SIZE = b"\x27"
"""A property of the answer to a CONNECT, followed by four bytes (MQTT 5, 3.2.2.3.6)."""


class Said(NamedTuple):
    """A message that came."""

    name: str
    """The last level of its topic."""
    payload: bytes


class Puppet:
    """Lets everybody in, keeps nothing, and passes nothing on."""

    def __init__(self, answer: Callable[[Said], int | None] = lambda _: 0, *, properties: bytes = b"") -> None:
        """`answer` returns the reason code of a message's PUBACK, None for no answer at all, or HANG_UP.

        `properties` are those of the CONNACK, as they go over the wire.
        """
        self.connected: list[float] = []
        """When the clients came, on the monotonic clock."""
        self.messages: list[Said] = []
        self.farewells: list[int] = []
        """Reason codes of the connections' ends: of a client that says nothing the last will speaks."""
        self.acknowledged = 0
        """How many messages and questions were answered, by an answer that is on its way."""
        self.ended = 0
        """How many connections are over."""
        self._answer = answer
        self._properties = properties
        self._more = threading.Condition()
        self._links: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for link in self._links:
            with contextlib.suppress(OSError):  # It is over already.
                link.shutdown(socket.SHUT_RDWR)

    def wait(self, fulfilled: Callable[[Puppet], object], seconds: float = 20) -> None:
        """Return when this is so; fail if it is not in time."""
        with self._more:
            assert self._more.wait_for(lambda: fulfilled(self), seconds), f"not after {seconds} s"

    def named(self, name: str) -> list[bytes]:
        """Return the payloads of what came under this name."""
        return [each.payload for each in self.messages if each.name == name]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # Nobody is to come any more.
            while True:
                link, _ = self._server.accept()
                self._links.append(link)
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as packets, contextlib.suppress(OSError):
            while head := packets.read(1):
                body = packets.read(_number(packets))
                answer = self._take(head[0], body)
                if answer:
                    link.sendall(answer)
                    self.acknowledged += answer[0] in {_PUBACK, _UNSUBACK}
                with self._more:
                    self._more.notify_all()
                if answer is None:
                    break
        with self._more:
            self.ended += 1
            self._more.notify_all()

    def _take(self, head: int, body: bytes) -> bytes | None:
        """Return the answer to a packet; None ends the connection."""
        match head >> 4:
            case 1:  # CONNECT, and so on: MQTT 5, 2.1.2.
                self.connected.append(time.monotonic())
                said = bytes([0, 0, len(self._properties)]) + self._properties
                return bytes([0x20, len(said)]) + said
            case 3:
                return self._hear(head, body)
            case 8:  # One topic, to be heard with QoS 1 at most.
                return bytes([0x90, 4, *body[:2], 0, 1])
            case 10:
                return bytes([_UNSUBACK, 4, *body[:2], 0, 0])
            case 12:
                return bytes([0xD0, 0])
            case 14:
                self.farewells.append(body[0] if body else 0)
        return None

    def _hear(self, head: int, body: bytes) -> bytes | None:
        qos = head >> 1 & 3
        topic, rest = body[2 : (end := 2 + int.from_bytes(body[:2]))].decode(), body[end:]
        packet, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        message = Said(topic.rpartition("/")[2], rest[1 + rest[0] :])
        self.messages.append(message)
        reason = self._answer(message)
        if reason == HANG_UP:
            return None
        return bytes([_PUBACK, 3, *packet, reason]) if qos and reason is not None else b""


def _number(packets: IO[bytes]) -> int:
    """Read a length, of as many bytes as it needs (MQTT 5, 1.5.5)."""
    number = shift = 0
    while (byte := packets.read(1)[0]) & 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
    return number | byte << shift
