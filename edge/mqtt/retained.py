"""The retained messages: the newest of each name, and which of them the broker still has to hear. No I/O.

Times are seconds on the monotonic clock.
"""

from __future__ import annotations

from edge.mqtt.broker import FORBIDDEN

REFUSED_SECONDS = 5.0
"""Before what the broker refused is offered again."""
FORBIDDEN_SECONDS = 60.0
"""Before what its rules forbade it to keep is: somebody may mend them."""


class Retained:
    """One message of a name is on its way at a time: a slow link gets the newest, not all that there were.

    An empty one takes back what the broker keeps of that name; once it was answered, there is nothing more to say.
    """

    def __init__(self) -> None:
        self._newest: dict[str, bytes] = {}
        self._unsaid: dict[str, None] = {}
        """In the order in which they changed."""
        self._flying: dict[int, str] = {}
        self._refused: dict[str, str] = {}
        """What the broker did not take, and why: to be offered again."""
        self.again_at: float | None = None
        """When that is due; None: nothing was refused."""

    @property
    def flying(self) -> int:
        """How many are on their way."""
        return len(self._flying)

    def lacks(self, prefix: str) -> bool:
        """Whether the broker has still to hear one whose name begins so, and its rules do not forbid that."""
        refused = (name for name, why in self._refused.items() if why != FORBIDDEN)
        return any(name.startswith(prefix) for name in (*self._unsaid, *self._flying.values(), *refused))

    def put(self, name: str, message: bytes) -> None:
        """Make this the message of its name."""
        self._newest[name] = message
        self._unsaid[name] = None

    def begin(self) -> None:
        """Count none of them as heard: a connection began."""
        self._unsaid = dict.fromkeys(self._newest)
        self._flying.clear()
        self._refused.clear()
        self.again_at = None

    def due(self, most: int, now: float) -> list[tuple[str, bytes]]:
        """Return what is to be sent now and then given to `sent`, so many at most."""
        if self.again_at is not None and now >= self.again_at:
            self._unsaid |= dict.fromkeys(name for name in self._refused if name in self._newest)
            self._refused.clear()
            self.again_at = None
        flying = set(self._flying.values())
        due = [name for name in self._unsaid if name not in flying][:most]
        for name in due:
            del self._unsaid[name]
        return [(name, self._newest[name]) for name in due]

    def sent(self, packet: int, name: str) -> None:
        """Note under which packet identifier a name was sent."""
        self._flying[packet] = name

    def landed(self, packet: int, now: float, refused: str = "") -> str:
        """Note that a packet was answered, or why it was refused; returns its name, empty if it is none of these.

        What was refused waits until it is offered again, or there is something newer; a taking back that the broker's
        rules forbid is over.
        """
        name = self._flying.pop(packet, "")
        if not name or name in self._unsaid:
            return name
        is_taken_back, is_forbidden = self._newest.get(name) == b"", refused == FORBIDDEN
        if refused and not (is_forbidden and is_taken_back):
            self._refused[name] = refused
            until = now + (FORBIDDEN_SECONDS if is_forbidden else REFUSED_SECONDS)
            self.again_at = min(until, self.again_at or until)
            return name
        self._refused.pop(name, None)
        if is_taken_back:
            del self._newest[name]
        return name
