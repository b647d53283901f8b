"""How messages go to the broker."""

from __future__ import annotations

from edge.record import Record


class Manner(Record, frozen=True):
    """How a message goes: quality of service, whether the broker keeps it, and after how many seconds it is stale."""

    qos: int = 1
    retain: bool = False
    expiry: int | None = None


VERDICT = Manner()
STATE = Manner(retain=True)
HEALTH = Manner(retain=True, expiry=3_600)
"""Of a device that is gone for an hour nobody needs to hear how it fared; its status stays."""
PICTURE = Manner(qos=0, expiry=86_400)
