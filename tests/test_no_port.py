"""A device listens on no port that nobody asked for: `[prometheus] port` is the only one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from edge.mqtt.broker import log_in, log_out, make_client
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    import pytest
    from conftest import Broker


def test_the_broker_is_reached_without_listening(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where listening is forbidden a login works, and what is published arrives: paho opens no port for itself."""

    def refuse(*_: Any) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    mqtt = Mqtt(host="127.0.0.1", port=broker.port)
    client = make_client(mqtt, "device")
    log_in(client, mqtt)
    sent = client.publish("inspect/v1/test", b"", qos=1)
    sent.wait_for_publish(10)
    log_out(client)
    assert sent.is_published()
