"""What is sent next, what has arrived, what is sent again: pure decisions, by table and by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.messages import Alarm, Gap, Verdict, encode
from edge.contract.ulid import new_ulid
from edge.ledger.rows import Row
from edge.mqtt.delivery import IN_FLIGHT, LIVE_SECONDS, Delivery, Lateness
from edge.mqtt.link import RECONNECT_SECONDS, backoff
from edge.mqtt.outage import Pulse
from edge.mqtt.retained import Retained


def row(seq: int) -> Row:
    return Row(seq, Verdict.PASS, b"{}")


def gap(first: int, last: int) -> Gap:
    return Gap(first=first, last=last, reason="shed", verdicts={})


class Sender:
    """Sends what a delivery gives out, under packet numbers, and keeps the order."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.now = 0.0
        self.packets: dict[int, Row | Gap] = {}
        self._next = 1

    def send(self) -> list[int]:
        """Send what may be sent now; returns the packets."""
        sent = []
        while (entry := self.delivery.next(self.now)) is not None:
            self.packets[self._next] = entry
            self.delivery.sent(self._next, entry, self.now)
            sent.append(self._next)
            self._next += 1
        return sent


def test_live_verdicts_go_one_by_one_and_a_backlog_by_the_window() -> None:
    """Few are in flight where few wait; where many do, acknowledgements open the window up to its limit."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    delivery.put([row(1), row(2), row(3)])
    assert len(sender.send()) == 1
    delivery.put(row(seq) for seq in range(4, 500))
    sizes = []
    while in_flight := sender.send() or list(sender.packets):
        sizes.append(len(sender.packets))
        assert delivery.landed(in_flight[0], sender.now)
        del sender.packets[in_flight[0]]
    assert max(sizes) == IN_FLIGHT
    assert delivery.delivered == 499


def test_nothing_more_is_sent_while_the_broker_is_silent() -> None:
    """After four usual answer times without an answer the window is shut, and the answer opens it again."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    delivery.put(row(seq) for seq in range(1, 200))
    for _ in range(10):
        packets = sender.send()
        sender.now += 0.1
        for packet in packets:
            delivery.landed(packet, sender.now)
    packets = sender.send()
    sender.now += 0.5
    assert sender.send() == []
    for packet in packets:
        delivery.landed(packet, sender.now)
    assert sender.send()


def test_what_was_refused_keeps_its_place() -> None:
    """A refused verdict is offered again before those behind it, and counts as delivered only when it is."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    delivery.put([row(1), gap(2, 4), row(5)])
    (first,) = sender.send()
    assert delivery.refused(first)
    assert delivery.delivered == 0
    (again,) = sender.send()
    assert sender.packets[again] == row(1)


@given(st.lists(st.sampled_from(["send", "land", "last", "refuse", "break", "wait", "settle"]), max_size=200))
def test_whatever_happens_the_order_holds_and_nothing_is_skipped(moves: list[str]) -> None:
    """By any course of events: first sendings are in order, and what counts as delivered was acknowledged."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    acknowledged: set[int] = set()
    first_sent: list[int] = []
    for move in moves:
        delivery.put(row(seq) for seq in range(delivery.read + 1, delivery.read + 30) if delivery.hungry)
        packets = list(sender.packets)
        match move:
            case "send":
                first_sent += [s for p in sender.send() if (s := sender.packets[p].seq) not in first_sent]
            case "land" | "last" if packets:
                packet = packets[0 if move == "land" else -1]
                acknowledged.add(sender.packets.pop(packet).seq)
                assert delivery.landed(packet, sender.now)
            case "refuse" if packets:
                del sender.packets[packets[0]]
                assert delivery.refused(packets[0])
            case "break":
                sender.packets.clear()
                delivery.begin()
            case "wait":
                sender.now += 0.2
            case "settle":
                delivery.settle(delivery.delivered)
        assert set(range(1, delivery.delivered + 1)) <= acknowledged
        assert delivery.settled <= delivery.delivered
    assert first_sent == list(range(1, len(first_sent) + 1))


def test_what_is_settled_was_asked_for() -> None:
    """However long ago a broker acknowledged something: it is not settled by that, and a rewind sends it again."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    delivery.put([row(1), row(2)])
    for settled in (0, 1):
        (packet,) = sender.send()
        delivery.landed(packet, sender.now)
        sender.now += 100
        assert (delivery.delivered, delivery.settled) == (settled + 1, settled)
        delivery.settle(1)
    delivery.rewind(1)
    assert (delivery.delivered, delivery.read, delivery.settled) == (1, 1, 1)


def test_little_overtakes_what_is_refused() -> None:
    """Only what was on its way with it: until it is taken, it is what goes, alone."""
    delivery = Delivery()
    delivery.begin()
    sender = Sender(delivery)
    delivery.put(row(seq) for seq in range(1, 200))
    for _ in range(10):
        for packet in sender.send():
            delivery.landed(packet, sender.now)
    first, *others = sender.send()
    refused = sender.packets[first]
    assert others
    assert delivery.refused(first)
    for packet in others:
        delivery.landed(packet, sender.now)
    for _ in range(3):
        (again,) = sender.send()
        assert sender.packets[again] == refused
        assert delivery.refused(again)
    (again,) = sender.send()
    delivery.landed(again, sender.now)
    assert len(sender.send()) > 1


@pytest.mark.parametrize(
    ("words", "later", "goes_on"),
    [
        ((900, 901), (905, 5), True),
        ((900, 901), (904, 5), True),  # A word is a second old, or was on its way for one.
        ((900, 901), (1, 5), False),
        ((900, 901), (899, 5), False),  # It cannot have become younger,
        ((10, 11), (26, 46), False),  # nor can as little have passed for it; it was noticed late that it died.
        ((900, 901), (5000, 5), False),  # Another broker under the same address has none of what this one had.
        ((900, 910), (910, 5), True),  # One that speaks each ten seconds says what was true then.
        ((900, 910), (890, 5), False),
        ((900,), (902, 10), True),  # How often it speaks is not known.
        ((900,), (880, 10), False),
        ((2, 3), (4, 5), False),  # So young that it cannot be told,
        ((2, 3), (4, 1), True),  # but for one that is older than a restarted one could be.
        ((), (8, 5), False),
    ],
)
def test_a_broker_that_died_is_told_from_a_cut(
    words: tuple[int, ...], later: tuple[int, int], *, goes_on: bool
) -> None:
    """By its words each second on how long it has been running, and one on the next connection, some seconds later."""
    pulse, now = Pulse(), 100.0
    pulse.begin()
    for uptime in words:
        now += uptime - words[0]
        pulse.hear(uptime, now)
    pulse.begin()
    uptime, passed = later
    assert pulse.goes_on(uptime, now + passed) == goes_on


def test_late_is_what_was_written_long_ago() -> None:
    """What an earlier start left is late at once, what this one wrote after LIVE_SECONDS."""
    lateness = Lateness(10)
    lateness.written(20, 100.0)
    lateness.written(30, 105.0)
    assert [lateness.is_late(seq, 106.0) for seq in (10, 11, 30)] == [True, False, False]
    assert [lateness.is_late(seq, 101.0 + LIVE_SECONDS) for seq in (20, 21, 30)] == [True, False, False]


def alarm(*, active: bool) -> Alarm:
    from edge import clock

    return Alarm(active=active, event=new_ulid(), label=None, score=None, boot_id=new_ulid(), time=clock.now())


def test_one_message_of_a_name_is_on_its_way() -> None:
    """Until the broker has answered, newer states wait, and only the newest of them is sent."""
    retained = Retained()
    states = [encode(alarm(active=active)) for active in (True, False, True)]
    retained.put("alarm/a", states[0])
    assert retained.due(9, 0) == [("alarm/a", states[0])]
    retained.sent(1, "alarm/a")
    for state in states[1:]:
        retained.put("alarm/a", state)
    assert retained.due(9, 0) == []
    assert retained.landed(1, 0) == "alarm/a"
    assert retained.due(9, 0) == [("alarm/a", states[2])]
    retained.begin()
    assert retained.due(9, 0) == [("alarm/a", states[2])], "a new connection hears all again"
    assert retained.landed(1, 0) == ""


def test_what_is_taken_back_is_said_once() -> None:
    """An empty message is forgotten once the broker has answered, and not before."""
    retained = Retained()
    retained.put("alarm/a", b"")
    retained.due(9, 0)
    retained.begin()
    assert retained.due(9, 0) == [("alarm/a", b"")], "it was not answered"
    retained.sent(1, "alarm/a")
    retained.put("alarm/a", b"again")
    retained.landed(1, 0)
    assert retained.due(9, 0) == [("alarm/a", b"again")]
    retained.sent(2, "alarm/a")
    retained.landed(2, 0)
    retained.put("alarm/a", b"")
    retained.due(9, 0)
    retained.sent(3, "alarm/a")
    assert retained.landed(3, 0) == "alarm/a"
    retained.begin()
    assert retained.due(9, 0) == []


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_grow_and_are_capped(failures: int, chance: float) -> None:
    """No wait is longer than the longest, nor shorter than half the first, and devices spread."""
    first, longest = RECONNECT_SECONDS
    wait = backoff(failures, chance)
    assert first / 2 <= wait <= longest
    assert backoff(failures + 1, chance) >= wait
