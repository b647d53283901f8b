"""The broker that `edge-deploy broker` sets up, with a device test/dut and an operator, and clients of it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from conftest import Broker, free_port, need_mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from recorder import Recorder, hang_up
from rigs import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from queue import SimpleQueue


@contextlib.contextmanager
def shipped_broker(folder: Path, *hosts: str) -> Iterator[Broker]:
    """Run a broker as it is shipped, for 127.0.0.1 and these hosts; its files are in the folder."""
    need_mosquitto()
    port = free_port()
    for command in (
        ("broker", folder, "--port", port, *(f"--host={host}" for host in ("127.0.0.1", *hosts))),
        ("certify", folder, "test/dut"),
        ("certify", folder, "operator"),
    ):
        done = deploy(*command)
        assert done.returncode == 0, done.stderr
    settings = folder / "mosquitto.conf"
    settings.write_text(settings.read_text() + "user root\n")  # Ordinary users may not look into root's folders here.
    broker = Broker(port, settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def credentials(broker: Broker, name: str) -> dict[str, object]:
    """Return what [mqtt] says of a client's certificate."""
    folder = broker.settings.parent
    files = {"ca_file": folder / "ca.crt", "cert_file": folder / f"{name}.crt", "key_file": folder / f"{name}.key"}
    return {"tls": True, **{key: str(path) for key, path in files.items()}}


def operator(broker: Broker) -> Recorder:
    """Subscribe to everything, with a session that survives the broker's end."""
    return Recorder(broker.port, persistent=True, certificate=broker.settings.parent / "operator.crt")


@contextlib.contextmanager
def client(broker: Broker, certificate: Path | None) -> Iterator[paho.Client]:
    """Prepare a client of the broker with a certificate, or with none; it is disconnected afterwards."""
    made = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    files = (certificate, certificate.with_suffix(".key")) if certificate else (None, None)
    made.tls_set(broker.settings.parent / "ca.crt", *files)
    try:
        yield made
    finally:
        hang_up(made)


def log_in(who: paho.Client, broker: Broker) -> None:
    """Connect and wait for the broker's word."""
    answered = threading.Event()
    who.on_connect = lambda *_: answered.set()
    who.connect("127.0.0.1", broker.port)
    who.loop_start()
    assert answered.wait(10)


def say(broker: Broker, certificate: str, topic: str) -> None:
    """Publish one message over a connection of its own: mosquitto may end one that says what it must not."""
    with client(broker, broker.settings.parent / certificate) as who:
        done = threading.Event()
        who.on_publish = who.on_disconnect = lambda *_: done.set()
        log_in(who, broker)
        who.publish(topic, b"{}", qos=1)
        assert done.wait(10)


def listen(who: paho.Client, heard: SimpleQueue[str], *topics: str) -> None:
    """Subscribe, and put the topic of what comes into a queue."""
    subscribed = threading.Event()
    who.on_message = lambda _client, _data, message: heard.put(message.topic)
    who.on_subscribe = lambda *_: subscribed.set()
    who.subscribe([(topic, 1) for topic in topics])
    assert subscribed.wait(10)
