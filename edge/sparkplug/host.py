"""Whether the primary host application is there, by what it says of itself. No I/O."""

from __future__ import annotations

import msgspec

from edge.contract.json import NOT_JSON

_LARGEST = 10_000
"""Bytes of a STATE message; it needs 50."""


class _State(msgspec.Struct):
    """STATE (payloads-state-birth-payload): `timestamp` is in milliseconds, of the host's clock."""

    online: bool
    timestamp: float


class Host:
    """What is known of a host on one connection; what an earlier one said may have changed since."""

    def __init__(self, name: str) -> None:
        """Take the host's id; empty: none is waited for."""
        self.name = name
        self.online: bool | None = None
        """None: it has not said anything."""
        self._latest = float("-inf")

    @property
    def wanted(self) -> bool:
        """Whether verdicts may be published now, as far as a host is concerned."""
        return not self.name or bool(self.online)

    def begin(self) -> None:
        """Forget what was said: a connection began, and the broker repeats the last word."""
        self.online, self._latest = None, float("-inf")

    def hear(self, payload: bytes) -> None:
        """Take in a STATE message. What is older than the last one says nothing (...-host-offline-timestamp)."""
        if len(payload) > _LARGEST:
            return
        try:
            state = msgspec.json.decode(payload, type=_State)
        except NOT_JSON:
            return
        if state.timestamp >= self._latest:
            self.online, self._latest = state.online, state.timestamp
