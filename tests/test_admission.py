"""Which requests are obeyed: whatever strangers send, none that is not allowed and valid."""

from __future__ import annotations

import json
import random
import threading
import tracemalloc
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from paho.mqtt.enums import CallbackAPIVersion
from recorder import hang_up
from test_homeassistant import configured

from edge.contract.commands import COMMANDS, LARGEST, Config, Reply, Request
from edge.contract.names import CommandName
from edge.errors import ConfigError
from edge.mqtt.admission import BURST, PER_SECOND, Admission, Overlooked, Refused, Repeated
from edge.mqtt.connection import Asked, Connected, Connection, Identity, Reached, Will
from edge.mqtt.link import Heard, Link
from edge.sections.mqtt import Mqtt
from edge.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker

ALLOWED = ("threshold", "config", "history", "replay", "pause")
VALID = {
    "threshold": {"transaction": "t", "value": 0.5},
    "config": {"transaction": "t", "set": {"decision.votes": 1}},
    "history": {"transaction": "t", "before": 10, "verdict": "DEFECT", "limit": 5},
    "replay": {"transaction": "t", "first": 1, "last": 2},
    "pause": {"transaction": "t"},
    "restart": {"transaction": "t"},
}


def near_valid(dice: random.Random) -> Asked:
    """Return a message that is a request, or nearly one, or nothing like it."""
    name = dice.choice([*VALID, *COMMANDS, "reboot", "", "pause/x", "\x00"])
    fresh = {"transaction": f"t{dice.randrange(1 << 40)}"}
    payload = bytearray(json.dumps({**VALID.get(name, {}), **fresh}).encode())
    for _ in range(dice.choice((0, 0, 1, 2, 5))):
        at = dice.randrange(len(payload) + 1)
        match dice.randrange(4):
            case 0:
                payload[at:at] = bytes([dice.randrange(256)])
            case 1:
                del payload[at : at + 1]
            case 2:
                payload[at : at + 1] = dice.choice(
                    (b"NaN", b"1e999", b"null", b"{", b"[" * 50, b'"', b"-1", b"99999999999")
                )
            case _:
                payload += payload[: at * 50]
    if dice.random() < 0.1:
        payload = bytearray(dice.randbytes(dice.randrange(5_000)))
    return Asked(name, bytes(payload), dice.random() < 0.1)


def test_hostile_payloads_are_never_obeyed(figure: Callable[[str], None], *, soak: bool) -> None:
    """Of random and near-valid payloads none raises, and each that is obeyed is allowed and valid by its schema."""
    count = 1_000_000 if soak else 30_000
    dice = random.Random(11)  # noqa: S311 - payloads, not secrets
    validators = {name: Draft202012Validator(msgspec.json.schema(kind)) for name, kind in COMMANDS.items()}
    admission = Admission(ALLOWED)
    obeyed = 0
    for number in range(count):
        asked = near_valid(dice)
        found = admission.look(asked, number / PER_SECOND)
        if isinstance(found, Request):
            obeyed += 1
            assert asked.name in ALLOWED
            assert not asked.retained
            assert len(asked.payload) <= LARGEST
            if number % 50 == 0:
                validators[asked.name].validate(json.loads(asked.payload))
        elif not isinstance(found, Repeated):
            assert isinstance(found, Refused)
            assert found.reply.status == "refused"
            assert found.reply.error
    figure(f"{count} payloads: {obeyed} valid and obeyed, {count - obeyed} not, 0 raised")
    assert 0 < obeyed < count


def test_every_command_can_be_allowed() -> None:
    """What a configuration may allow is what a device knows."""
    assert set(get_args(CommandName)) == set(COMMANDS)


def test_too_many_are_overlooked_and_counted() -> None:
    """Beyond the rate requests are not looked at; with time some are again."""
    admission = Admission(ALLOWED)
    asked = Asked("pause", b'{"transaction": "t"}', retained=False)
    found = [admission.look(asked, 0.0) for _ in range(BURST + 10)]
    assert [isinstance(one, Overlooked) for one in found] == [False] * BURST + [True] * 10
    assert not isinstance(admission.look(asked, 1.0), Overlooked)


def test_a_flood_of_others_takes_no_triggers_turn() -> None:
    """Each part on a line is a request: however many others come beside them, all are looked at."""
    admission = Admission((*ALLOWED, "trigger"))
    other = Asked("pause", b"no request", retained=False)
    for number in range(500):
        trigger = Asked("trigger", b'{"transaction": "t%d"}' % number, retained=False)
        assert isinstance(admission.look(trigger, number / 20), Request)
        found = [admission.look(other, number / 20) for _ in range(10)]
    assert all(isinstance(each, Overlooked) for each in found[1:])


def test_a_request_is_obeyed_once() -> None:
    """Delivered again, before its answer or after, it gets what the first one gets, and is not obeyed again."""
    admission = Admission(ALLOWED)
    asked = Asked("pause", b'{"transaction": "t"}', retained=False)
    assert isinstance(admission.look(asked, 0.0), Request)
    assert admission.look(asked, 0.0) == Repeated(None)
    admission.remember("pause", answer := Reply(transaction="t", status="ok"))
    assert admission.look(asked, 0.0) == Repeated(answer)


def page(word: str, size: int) -> Reply:
    """Return an answer of about this many bytes."""
    return Reply(transaction=word, status="ok", data={"events": [{"source": "x" * size}]})


def test_answers_are_kept_within_bytes() -> None:
    """The newest answers are given again, as many as fit; a request whose answer is gone is not obeyed either."""
    admission = Admission(ALLOWED)
    words = [f"t{number}" for number in range(200)]
    asked = {word: Asked("history", b'{"transaction": "%s"}' % word.encode(), retained=False) for word in words}
    tracemalloc.start()
    for number, word in enumerate(words):
        assert isinstance(admission.look(asked[word], number), Request)
        admission.remember("history", page(word, 60_000))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 1 << 20
    found = [admission.look(each, 1_000 + number) for number, each in enumerate(asked.values())]
    assert found[-4:] == [Repeated(page(word, 60_000)) for word in words[-4:]]
    for word, older in zip(words, found[:-4], strict=False):
        assert isinstance(older, Repeated)
        assert older.reply is not None
        assert (older.reply.transaction, older.reply.status) == (word, "refused")
        assert "ask with another transaction" in older.reply.error


def test_an_answer_too_large_to_keep_pushes_out_no_other() -> None:
    """Its request is refused when it is repeated; the other answers are given again."""
    admission = Admission(ALLOWED)
    small, large = (Asked("history", b'{"transaction": "%s"}' % word, retained=False) for word in (b"s", b"l"))
    for asked, answer in ((small, page("s", 10)), (large, page("l", 300_000))):
        admission.look(asked, 0.0)
        admission.remember("history", answer)
    assert admission.look(small, 0.0) == Repeated(page("s", 10))
    again = admission.look(large, 0.0)
    assert isinstance(again, Repeated)
    assert again.reply is not None
    assert again.reply.status == "refused"


@given(st.binary(max_size=200), st.sampled_from([*COMMANDS, "nothing"]))
def test_no_payload_raises(payload: bytes, name: str) -> None:
    """Whatever bytes come, they are a request or get a reason."""
    found = Admission(COMMANDS).look(Asked(name, payload, retained=False), 0.0)
    assert isinstance(found, Request) or (isinstance(found, Refused) and found.reply.error)


@pytest.mark.parametrize("depth", [100, 900, 1_100, 2_000])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_nesting_raises(tmp_path: Path, name: str, depth: int) -> None:
    """A request nested to whatever depth that its bytes allow is refused, or leads to no setting."""
    for opening, closing in (("[", "]"), ('{"x":', "}")):
        nested = opening * (depth // len(opening)) + "1" + closing * (depth // len(opening))
        payload = f'{{"transaction": "t", "set": {{"decision.threshold": {nested}}}}}'.encode()
        assert len(payload) <= LARGEST
        found = Admission(COMMANDS).look(Asked(name, payload, retained=False), 0.0)
        if isinstance(found, Refused):
            assert found.reply.error
            continue
        assert isinstance(found, Config)
        with pytest.raises(ConfigError):
            Settings(configured(), tmp_path).change(found.set)


class Ear:
    """A link that listens on cmd/+, and whose inbox the test reads."""

    def __init__(self, port: int, protocol: str) -> None:
        self._inbox: SimpleQueue[Heard] = SimpleQueue()
        who = Identity("ear", Will("gone", b""), (("cmd/+", 1),))
        mqtt = msgspec.convert({"host": "127.0.0.1", "port": port, "protocol": protocol}, Mqtt)
        self._link = Link(mqtt, lambda: who, self._inbox.put)
        self._link.open()
        while not isinstance(self._link.take(self._inbox.get(timeout=10)), Connected):
            pass
        self._link.mark()
        while not isinstance(self._link.take(self._inbox.get(timeout=10)), Reached):  # The broker knows the filter.
            pass

    def hear(self, last: bytes) -> list[Asked]:
        """Return what was asked up to this payload."""
        heard: list[Asked] = []
        while not heard or heard[-1].payload != last:
            if isinstance(news := self._link.take(self._inbox.get(timeout=10)), Asked):
                heard.append(news)
        return heard

    def stop(self) -> None:
        """Disconnect."""
        self._link.close(5)


def ask(port: int, *payloads: bytes) -> None:
    """Publish these on cmd/pause, one after the other."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for payload in payloads:
        client.publish("cmd/pause", payload, qos=1).wait_for_publish(10)
    hang_up(client)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_inbox_is_bounded_in_bytes(broker: Broker, protocol: str) -> None:
    """Of what a broker without limits sends on, a little more than a request may have is kept, and that is refused."""
    ear = Ear(broker.port, protocol)
    ask(broker.port, bytes(5_000), bytes(1 << 20), bytes(LARGEST), b"last")
    heard = ear.hear(b"last")
    ear.stop()
    kept = [len(asked.payload) for asked in heard]
    too_large = [LARGEST + 1] * (1 if protocol == "5" else 2)  # MQTT 5: the broker keeps what is beyond all measure.
    assert kept == [*too_large, LARGEST, 4]
    found = Admission(COMMANDS).look(heard[0], 0.0)
    assert isinstance(found, Refused)
    assert found.reply.error == f"more than {LARGEST} bytes are too many"


def test_no_two_threads_count_in_one_field(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a connection is open each of its fields is changed by one thread: none can undo what another has done."""
    writers: dict[str, set[str]] = {}

    def note(connection: Connection, name: str, value: Any) -> None:
        if "_connected" in vars(connection):  # The last one that is made.
            writers.setdefault(name, set()).add(threading.current_thread().name)
        object.__setattr__(connection, name, value)

    monkeypatch.setattr(Connection, "__setattr__", note, raising=False)
    ear = Ear(broker.port, "5")
    ask(broker.port, *[b"%d" % number for number in range(20)], b"last")
    ear.hear(b"last")
    ear.stop()
    assert {name: names for name, names in writers.items() if len(names) > 1} == {}
    assert len(writers["considered"]) == 1
