"""Who may not come in, or only to his own, at the broker as it is shipped: what is refused, and who logs it."""

from __future__ import annotations

import re
import socket
import ssl
import warnings
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from device import assert_one_clear_line, run_inspect, running_daemon, write_config
from rigs import deploy
from shipped import client, credentials, listen, log_in, operator, say, shipped_broker
from test_publisher import Line, wait_for_text

from deploy.certificates import Authority
from edge.mqtt import link
from edge.mqtt.broker import hung_up, unreachable
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker as it is shipped."""
    with shipped_broker(tmp_path_factory.mktemp("shipped") / "broker") as broker:
        yield broker


def certificate_of(stranger: str, folder: Path, elsewhere: Path) -> Path | None:
    """Return the certificate that a stranger comes with; None if he has none."""
    match stranger:
        case "another CA":
            return Authority(elsewhere / "others").issue("dut", "test/dut")
        case "expired":
            return Authority(folder).issue("late", "test/dut", days=-0.5)
        case "self-signed":
            Authority(elsewhere / "self")
            return elsewhere / "self" / "ca.crt"
    return None


STRANGERS = ["none", "another CA", "expired", "self-signed"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_are_refused(tmp_path: Path, shipped: Broker, stranger: str) -> None:
    """Who has no certificate of this CA, or one that is over, gets no connection, and the broker's log says so."""
    answers: SimpleQueue[str] = SimpleQueue()
    before = len(shipped.log())
    with client(shipped, certificate_of(stranger, shipped.settings.parent, tmp_path)) as refused:
        refused.on_connect = lambda *_: answers.put("let in")
        refused.on_disconnect = lambda *_: answers.put("refused")
        try:
            refused.connect("127.0.0.1", shipped.port)
            refused.loop_start()
        except OSError:
            answers.put("refused")
        assert answers.get(timeout=10) == "refused"
    why = "peer did not return a certificate" if stranger == "none" else "certificate verify failed"
    assert why in shipped.log()[before:]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_device_says_why_it_is_refused(tmp_path: Path, shipped: Broker, demo_bundle: Path, stranger: str) -> None:
    """A device with no certificate of this CA, or an old one, says in one line that its certificate is at fault."""
    folder = shipped.settings.parent
    mqtt = {"host": "127.0.0.1", "port": shipped.port, "tls": True, "ca_file": str(folder / "ca.crt")}
    if certificate := certificate_of(stranger, folder, tmp_path):
        mqtt |= {"cert_file": str(certificate), "key_file": str(certificate.with_suffix(".key"))}
    camera = {"kind": "synthetic", "frames": 1}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt)
    assert_one_clear_line(run_inspect("check", "--config", config, "--live"), 7, "mqtt.cert_file")


ALERTS = [
    ("certificate required", "set mqtt.cert_file and mqtt.key_file"),
    ("unknown ca", "is of another CA"),
    ("certificate expired", "give the device a new mqtt.cert_file"),
    ("protocol version", "TLS, 1.2 at least"),
    ("bad certificate", "check mqtt.cert_file and the broker's log"),
]
"""What a broker sends, and words of what is made of it."""


@pytest.mark.parametrize(("alert", "remedy"), ALERTS)
def test_an_alert_of_the_broker_names_its_remedy(alert: str, remedy: str) -> None:
    """Where the broker's TLS alert arrives before the connection's end, the line says what it was and what to do."""
    line = hung_up(Mqtt(host="hall", tls=True), "Unspecified error", [alert])
    assert alert in line
    assert remedy in line


def test_a_broker_of_another_ca_names_its_remedy() -> None:
    """A broker whose certificate is not trusted is not called out of reach."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed: unable to get local issuer certificate")
    line = unreachable(Mqtt(host="hall", tls=True), error)
    assert "mqtt.ca_file" in line
    assert "the network" not in line


def test_a_new_certificate_needs_no_restart(
    tmp_path: Path, shipped: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A device whose certificate is over tries on and counts; with a new one in its place it delivers what waits."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.05, 0.1))
    caplog.set_level("INFO")
    authority = Authority(shipped.settings.parent)
    authority.issue("renewed", "test/dut", days=-0.5)
    refused = Line(tmp_path, shipped.port, **credentials(shipped, "renewed"))
    refused.judge(5)
    wait_for_text(caplog, "mqtt.cert_file")
    assert refused.ledger.waiting == 5
    authority.issue("renewed", "test/dut")
    wait_for_text(caplog, "connected to broker")
    assert refused.stop(10) == 0
    told = next(record.args for record in caplog.records if record.msg.startswith("connected to broker"))
    assert isinstance(told, tuple)
    assert told[1] >= 1


def test_old_tls_is_refused(shipped: Broker) -> None:
    """TLS 1.1 ends in the handshake, and the broker's log says so."""
    before = len(shipped.log())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # That it is deprecated is the point.
        old = ssl.create_default_context(cafile=shipped.settings.parent / "ca.crt")
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", shipped.port), 10) as link, pytest.raises(OSError, match="SSL"):
        old.wrap_socket(link, server_hostname="127.0.0.1")
    assert "unsupported protocol" in shipped.log()[before:]


def test_a_device_with_the_certificate_of_another(tmp_path: Path, shipped: Broker, demo_bundle: Path) -> None:
    """What a device says under another one's name arrives nowhere; its log names the topic and the remedy.

    The broker's log says who came, and has no line for what it drops.
    """
    before = len(shipped.log())
    assert deploy("certify", shipped.settings.parent, "test/other").returncode == 0
    mqtt = {"host": "127.0.0.1", "port": shipped.port, **credentials(shipped, "test.other")}
    camera = {"kind": "synthetic", "rate": 10}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt)
    with operator(shipped) as recorder, running_daemon(config) as daemon:
        assert daemon.stderr is not None
        refused = next(line for line in daemon.stderr if "refuses" in line)
        daemon.kill()
    assert "inspect/v1/test/dut/" in refused
    assert "mqtt.cert_file" in refused
    assert "u'test/other'" in shipped.log()[before:]
    assert "inspect/v1/test/dut/" not in shipped.log()[before:]
    assert [message for message in recorder.messages if not message.retained] == []


def test_a_device_that_takes_the_name_of_another(
    tmp_path: Path, shipped: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client with another one's identifier can end its connection, no more: the robbed one says so and returns."""
    monkeypatch.setattr(link, "RIVAL_SECONDS", 0.3)
    caplog.set_level("INFO")
    folder = shipped.settings.parent
    assert deploy("certify", folder, "test/other").returncode == 0
    robbed = Line(tmp_path, shipped.port, **credentials(shipped, "test.dut"))
    wait_for_text(caplog, "connected to broker")
    with operator(shipped) as recorder:
        with client(shipped, folder / "test.other.crt") as robber:
            robber._client_id = b"edge-inspect/test/dut"
            log_in(robber, shipped)
            robber.publish("inspect/v1/test/dut/event", b'{"seq": 666}', qos=1)
            wait_for_text(caplog, "another device")
        robbed.judge(5)
        events = recorder.wait_for("event", 5)
        assert robbed.stop(10) == 0
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert "device.id" in next(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "already connected" in shipped.log()


def test_who_listens_to_another_is_in_the_log(shipped: Broker) -> None:
    """Who subscribes to what is not his hears nothing of it, and the broker's log says who it was and to what."""
    folder = shipped.settings.parent
    assert deploy("certify", folder, "test/spy").returncode == 0
    heard: SimpleQueue[str] = SimpleQueue()
    with client(shipped, folder / "test.spy.crt") as spy:
        log_in(spy, shipped)
        listen(spy, heard, "inspect/v1/test/dut/#", "inspect/v1/test/spy/cmd/#")
        say(shipped, "operator.crt", "inspect/v1/test/dut/info")
        say(shipped, "operator.crt", "inspect/v1/test/spy/cmd/pause")
        assert heard.get(timeout=10) == "inspect/v1/test/spy/cmd/pause"
    (name,) = re.findall(r"as (\S+) \(.*u'test/spy'\)", shipped.log())
    assert f"{name} 1 inspect/v1/test/dut/#" in shipped.log()
