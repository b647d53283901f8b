"""asyncapi.yaml: it is the classes, AsyncAPI's own parser accepts it, and a real daemon says what it says."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.client as paho
import pytest
import yaml
from conftest import make_broker
from device import running_daemon, stop, write_config
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from npm import installed
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from recorder import await_arrival, hang_up
from rigs import need
from spark_host import GROUP, HOST, SparkHost
from test_messages import EXAMPLES, FORMATS

from edge import evidence
from edge.contract import asyncapi, commands, messages
from edge.contract.commands import COMMANDS, Reply
from edge.contract.elsewhere import PLACES
from edge.mqtt import manner
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Broker

PARSER = "@asyncapi/parser@3.6.3"
CHECK = """
import {readFileSync} from 'node:fs'
import {Parser} from '@asyncapi/parser'
const {document, diagnostics} = await new Parser().parse(readFileSync(process.argv[2], 'utf8'))
console.log(JSON.stringify({operations: document?.operations().all().length ?? 0, diagnostics}))
"""
WARNING = 1
"""The parser's word for what is no error and no mere hint."""
DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi.DOCUMENT.read_text("utf-8"))


def validator(name: str) -> Draft202012Validator:
    """The validator of one of the document's schemas."""
    return Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"}, format_checker=FORMATS)


def every_reference(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        for inner in part.values():
            yield from every_reference(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from every_reference(inner)


def look_up(reference: str) -> Any:
    part = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def test_the_document_is_the_classes() -> None:
    """The committed asyncapi.yaml says what the message classes say; after a change: make schemas."""
    assert asyncapi.document() == DOCUMENT


def test_request_schemas_on_disk_are_the_classes() -> None:
    """The committed schemas of requests and reply are what the classes say; after a change: make schemas."""
    for name, schema in commands.schemas().items():
        assert json.loads((messages.SCHEMA_FOLDER / f"{name}.json").read_bytes()) == schema
        Draft202012Validator.check_schema(schema)


def test_the_parts_fit_together() -> None:
    """By checks of our own: references lead somewhere, addresses have their parameters, schemas are schemas."""
    for reference in every_reference(DOCUMENT):
        look_up(reference)
    for channel in DOCUMENT["channels"].values():
        assert set(channel["parameters"]) == set(re.findall(r"\{(\w+)\}", channel["address"]))
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)  # AsyncAPI's dialect.
    used = [operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()]
    used += [
        operation["reply"]["channel"]["$ref"] for operation in DOCUMENT["operations"].values() if "reply" in operation
    ]
    assert sorted(used) == sorted(f"#/channels/{name}" for name in DOCUMENT["channels"])
    own = {*messages.MESSAGES, "image", messages.LAST_DEFECT, *(f"cmd-{name}" for name in COMMANDS)}
    assert set(DOCUMENT["operations"]) == own | set(PLACES)


@pytest.mark.rig
def test_the_official_parser_accepts_it() -> None:
    """AsyncAPI's own parser finds neither an error nor a warning in it, and all of its operations."""
    script = installed(PARSER) / "check.mjs"
    script.write_text(CHECK)
    command = [need("node", "nodejs"), script, asyncapi.DOCUMENT]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert [each for each in found["diagnostics"] if each["severity"] <= WARNING] == []
    assert found["operations"] == len(DOCUMENT["operations"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_all_messages_are_valid(name: str) -> None:
    """Each message that the classes can make is what the document says, and none of its parts is something else."""
    data = json.loads(messages.encode(EXAMPLES[name]))
    schema = validator(type(EXAMPLES[name]).__name__)
    schema.validate(data)
    assert not any(schema.is_valid(data | {field: {"": {}}}) for field in data)


def test_what_no_class_says_is_what_the_device_does() -> None:
    """Expiry, the picture's size and the keep-alive are those that the device uses."""
    expiry = dict.fromkeys(asyncapi.QOS, manner.PICTURE.expiry) | {"health": manner.HEALTH.expiry}
    assert expiry == asyncapi.EXPIRY_SECONDS
    assert (manner.VERDICT.expiry, manner.STATE.expiry, manner.PICTURE.qos) == (None, None, asyncapi.QOS["image"])
    assert evidence.LARGEST == asyncapi.IMAGE_BYTES
    assert Mqtt().keepalive_s == asyncapi.KEEPALIVE_SECONDS


VALUES = st.sampled_from([None, True, 0, 1, 7, 0.5, 1.5, -1, 101, "", "t", "t t", "PASS", "x" * 65, [], {}, {"a": 1}])


@given(st.sampled_from(list(COMMANDS)), st.data())
def test_the_document_accepts_what_the_device_accepts(name: str, data: st.DataObject) -> None:
    """Of random requests the schema refuses just those that the device refuses, a replay's range set aside."""
    kind = COMMANDS[name]
    fields = [*kind.__struct_fields__, "unknown"]
    request = data.draw(st.dictionaries(st.sampled_from(fields), VALUES))
    try:
        msgspec.json.decode(msgspec.json.encode(request), type=kind)
    except msgspec.DecodeError as error:
        obeyed = "last must be" in str(error)
    else:
        obeyed = True
    assert validator(kind.__name__).is_valid(request) == obeyed


class Listener:
    """Hears everything below some topics, with each message's flags as they were published."""

    def __init__(self, port: int, topics: str = "inspect/v1/#") -> None:
        self.heard: list[Any] = []
        self._changed = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = self._on_message
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(topics, options=SubscribeOptions(qos=1, retainAsPublished=True))
        assert subscribed.wait(10)

    def wait(self, condition: Callable[[set[str]], bool]) -> None:
        """Wait until the names of the channels so far satisfy a condition."""
        with self._changed:
            met = self._changed.wait_for(lambda: condition({channel_of(each.topic) for each in self.heard}), 30)
        assert met, {each.topic for each in self.heard}

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        with self._changed:
            self.heard.append(message)
            self._changed.notify_all()


def channel_of(topic: str) -> str:
    """Return the document's channel of a topic; fails if there is none or more than one."""
    patterns = {
        name: re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
        for name, channel in DOCUMENT["channels"].items()
    }
    (name,) = [name for name, pattern in patterns.items() if re.fullmatch(pattern, topic)]
    return name


def requests() -> dict[str, dict[str, Any]]:
    """Return a request for each command that leaves the device running."""
    more = {"threshold": {"value": 0.001}, "replay": {"first": 1, "last": 2}, "history": {"limit": 3}}
    names = ["threshold", "config", "history", "replay", "health", "model", "pause", "resume"]
    return {name: {"transaction": f"t-{name}", **more.get(name, {})} for name in names}


def test_a_real_daemon_says_what_the_document_says(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Whatever a device publishes has a channel, its payload's schema, and the QoS, retain flag and expiry named."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": list(COMMANDS)},
        health_every_s=0.5,
    )
    listener = Listener(broker.port)
    with running_daemon(config) as daemon:
        listener.wait(lambda seen: {"event", "health"} <= seen)
        for name, request in requests().items():
            validator(COMMANDS[name].__name__).validate(request)
            await_arrival(listener.client.publish(f"inspect/v1/test/dut/cmd/{name}", json.dumps(request), qos=1))
            listener.wait(lambda seen, reply=f"reply-{name}": reply in seen)
        listener.wait(lambda seen: set(messages.MESSAGES) - {"gap"} | {"image"} <= seen)
        stop(daemon)
    hang_up(listener.client)
    for message in listener.heard:
        check(message)


def check(message: Any) -> None:
    """Hold one message against the document."""
    name = channel_of(message.topic)
    kinds = {**{f"reply-{each}": Reply for each in COMMANDS}, **{f"cmd-{each}": COMMANDS[each] for each in COMMANDS}}
    kinds |= messages.MESSAGES
    if name in asyncapi.QOS:
        assert message.payload[:2] == b"\xff\xd8"
        assert len(message.payload) <= DOCUMENT["components"]["messages"][name]["payload"]["maxLength"]
    else:
        validator(kinds[name].__name__).validate(json.loads(message.payload))
    if name.startswith("reply-"):
        assert json.loads(message.payload)["status"] == "ok", message.payload
        assert (message.qos, message.retain) == (1, False)
    if name in DOCUMENT["operations"]:
        mqtt = DOCUMENT["operations"][name]["bindings"]["mqtt"]
        assert (message.qos, message.retain) == (mqtt["qos"], mqtt["retain"]), name
        left = getattr(message.properties, "MessageExpiryInterval", None)
        assert left == mqtt.get("messageExpiryInterval") or 0 < left <= mqtt["messageExpiryInterval"]


def test_every_topic_that_a_device_uses_is_in_the_document(tmp_path: Path, demo_bundle: Path) -> None:
    """With all that can be switched on: each topic it speaks on, and each it subscribes to, as the broker sees it."""
    broker = make_broker(tmp_path, "allow_anonymous true", "log_type all")
    broker.start()
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": list(COMMANDS)},
        homeassistant={"enabled": True},
        sparkplug={"group_id": GROUP, "primary_host_id": HOST},
    )
    listener, state = Listener(broker.port, "#"), f"spBv1.0/STATE/{HOST}"
    with SparkHost(broker.port) as host, running_daemon(config) as daemon:
        host.say(online=True)
        listener.wait(lambda seen: {"homeassistant", "sparkplug-ndata", "image", "last_defect", "alarm"} <= seen)
        stop(daemon)
        listener.wait(lambda seen: "sparkplug-ndeath" in seen)
    hang_up(listener.client)
    broker.stop()
    operations = DOCUMENT["operations"]
    mqtt = {name: each["bindings"]["mqtt"] for name, each in operations.items()}
    said = {(channel_of(each.topic), each.qos, each.retain) for each in listener.heard if each.topic != state}
    assert said == {(name, mqtt[name]["qos"], mqtt[name]["retain"]) for name, _, _ in said}
    assert {operations[name]["action"] for name, _, _ in said} == {"send"}
    filters = set(re.findall(r": edge-inspect/\S+ (\d) (.*)\n", broker.log()))
    heard = {
        (name, int(qos))
        for qos, topics in filters
        for name in ([f"cmd-{each}" for each in COMMANDS] if topics.endswith("cmd/+") else [channel_of(topics)])
    }
    assert heard - {("sparkplug-nbirth", 0)} == {
        (name, mqtt[name]["qos"]) for name, each in operations.items() if each["action"] == "receive"
    }
    assert {name for name, _, _ in said} | {name for name, _ in heard} == set(operations) - {"gap"}
