"""The retained messages: the newest of each name, and which of them the broker still has to hear. No I/O."""

from __future__ import annotations


class Retained:
    """One message of a name is on its way at a time: a slow link gets the newest, not all that there were.

    An empty one takes back what the broker keeps of that name; once it was answered, there is nothing more to say.
    """

    def __init__(self) -> None:
        self._newest: dict[str, bytes] = {}
        self._unsaid: dict[str, None] = {}
        """In the order in which they changed."""
        self._flying: dict[int, str] = {}
        self._refused: set[str] = set()
        """What the broker did not take, and is to be offered again."""

    @property
    def flying(self) -> int:
        """How many are on their way."""
        return len(self._flying)

    def put(self, name: str, message: bytes) -> None:
        """Make this the message of its name."""
        self._newest[name] = message
        self._unsaid[name] = None

    def begin(self) -> None:
        """Count none of them as heard: a connection began."""
        self._unsaid = dict.fromkeys(self._newest)
        self._flying.clear()
        self._refused.clear()

    def due(self, most: int) -> list[tuple[str, bytes]]:
        """Return what is to be sent now and then given to `sent`, so many at most."""
        flying = set(self._flying.values())
        due = [name for name in self._unsaid if name not in flying][:most]
        for name in due:
            del self._unsaid[name]
        return [(name, self._newest[name]) for name in due]

    def sent(self, packet: int, name: str) -> None:
        """Note under which packet identifier a name was sent."""
        self._flying[packet] = name

    def landed(self, packet: int, *, refused: bool = False, for_good: bool = False) -> str:
        """Note that a packet was answered; returns its name, empty if it is none of these.

        What was refused waits until it is offered again, or there is something newer; a taking back that is refused
        `for_good` is over.
        """
        name = self._flying.pop(packet, "")
        is_over = not refused or (for_good and self._newest.get(name) == b"")
        if name and not is_over and name not in self._unsaid:
            self._refused.add(name)
        elif name not in self._unsaid and self._newest.get(name) == b"":
            del self._newest[name]
        return name

    def offer_again(self) -> None:
        """Count as unheard what was refused."""
        self._unsaid |= dict.fromkeys(sorted(self._refused & set(self._newest)))
        self._refused.clear()
