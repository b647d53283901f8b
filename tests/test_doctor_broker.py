"""What doctor says of the way to the broker, against real brokers and real certificates."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority as Ours
from conftest import Broker, make_broker
from test_doctor_machine import states

from deploy.certificates import Authority
from edge.config import Config, Device
from edge.doctor import broker as examined
from edge.doctor.finding import Patient
from edge.errors import BrokerError, ConfigError
from edge.sections.cameras import SyntheticConfig
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HERE = "127.0.0.1"


def patient(folder: Path, **mqtt: Any) -> Patient:
    """A device whose broker is here, unless told otherwise."""
    settings = Mqtt(**{"host": HERE, **mqtt})
    return Patient(config=Config(bundle=folder, camera=SyntheticConfig(), device=Device(id="dut"), mqtt=settings))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The broker's CA."""
    return Authority(tmp_path / "ca")


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Broker]]:
    """Starts a broker with a certificate for these hosts and this many days, and more lines of configuration."""
    with ExitStack() as stack:

        def start(*lines: str, host: str = HERE, days: float = 825) -> Broker:
            certificate = authority.issue("broker", "broker", (host,), days=days)
            files = (f"certfile {certificate}", f"keyfile {certificate.with_suffix('.key')}")
            found = make_broker(tmp_path, *files, *(lines or ("allow_anonymous true",)))
            stack.callback(found.stop)
            found.start()
            return found

        yield start


def trusting(folder: Path, port: int, **more: Any) -> Patient:
    return patient(folder, port=port, tls=True, ca_file=folder / "ca" / "ca.crt", **more)


def test_a_name_without_an_address(tmp_path: Path) -> None:
    """A name that no server knows is a problem (RFC 6761 keeps this one free), an address has none to ask for."""
    assert states(examined.name(patient(tmp_path, host="broker.invalid"))) == [("broker name", "problem")]
    (found,) = examined.name(patient(tmp_path))
    assert (found.state, found.says) == ("ok", HERE)


def test_ports(tmp_path: Path, broker: Broker) -> None:
    """An open port is fine, a closed one refuses."""
    assert states(examined.port(patient(tmp_path, port=broker.port))) == [("broker port", "ok")]
    broker.stop()
    (found,) = examined.port(patient(tmp_path, port=broker.port))
    assert "refuses connections" in found.says


def test_an_address_that_swallows_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes back, as from behind a firewall, it is said after a bounded time, with other remedies."""
    monkeypatch.setattr(examined, "_SECONDS", 0.5)
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((HERE, 0))
        full.listen(0)
        for _ in range(4):  # The kernel drops who comes when the queue is full.
            link = stack.enter_context(socket.socket())
            link.setblocking(False)
            link.connect_ex(full.getsockname())
        (found,) = examined.port(patient(tmp_path, port=full.getsockname()[1]))
    assert (found.state, "does not answer within 0.5 s" in found.says) == ("problem", True)
    assert "firewalls" in found.remedy


def test_no_route_to_the_broker() -> None:
    """An address that the network cannot reach is a problem of this device's network."""
    assert "ip route" in examined.judge_connection(Mqtt(), OSError(113, "No route to host")).remedy


def test_a_port_that_is_silent_about_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that accepts and says nothing ends the handshake in time, and is no broker with TLS."""
    monkeypatch.setattr(examined, "_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind((HERE, 0))
        silent.listen()
        (found,) = examined.server(patient(tmp_path, port=silent.getsockname()[1], tls=True))
    assert (found.state, "makes no TLS handshake" in found.says) == ("problem", True)


def test_a_broker_with_plain_mqtt_on_the_port(tmp_path: Path, broker: Broker) -> None:
    """TLS spoken to a port without it is told as such."""
    (found,) = examined.server(patient(tmp_path, port=broker.port, tls=True))
    assert "does this port expect TLS" in found.remedy


@pytest.mark.parametrize(
    ("days", "expected"),
    [(825, ["ok", "ok"]), (29.5, ["warning", "ok"]), (-0.5, ["problem", "problem"])],
)
def test_the_brokers_certificate_has_a_time(
    tmp_path: Path, tls: Callable[..., Broker], days: float, expected: list[str]
) -> None:
    """A certificate that ends within a month is a warning, one that has ended a problem."""
    found = examined.server(trusting(tmp_path, tls(days=days).port))
    assert [state for _, state in states(found)] == expected


def test_a_certificate_for_another_name(tmp_path: Path, tls: Callable[..., Broker]) -> None:
    """The name in the configuration has to be one in the certificate."""
    found = list(examined.server(trusting(tmp_path, tls(host="broker.example").port)))
    assert [state for _, state in states(found)] == ["ok", "problem"]
    assert "mqtt.host" in found[1].remedy


def test_a_certificate_of_another_ca(tmp_path: Path, tls: Callable[..., Broker]) -> None:
    """The CA file has to be the broker's."""
    stranger = Ours(tmp_path, "stranger").certificate
    found = list(examined.server(patient(tmp_path, port=tls().port, tls=True, ca_file=stranger)))
    assert [state for _, state in states(found)] == ["ok", "problem"]
    assert "mqtt.ca_file" in found[1].remedy


def test_a_clock_that_is_behind(authority: Authority) -> None:
    """A certificate that is not valid yet means a wrong clock, here or where it was made."""
    from cryptography import x509

    made = x509.load_pem_x509_certificate(authority.issue("a", "a").read_bytes())
    early = made.not_valid_before_utc - timedelta(hours=1)
    found = examined.judge_dates("certificates", "it", made, early, "-")
    assert (found.state, "clock" in found.remedy) == ("problem", True)


def test_the_devices_own_files(tmp_path: Path, authority: Authority) -> None:
    """Its certificate's end is watched, a key that everybody may read is told, and one of another is refused."""
    certificate = authority.issue("device", "site/dut", days=10)
    key = certificate.with_suffix(".key")
    files = {"ca_file": tmp_path / "ca" / "ca.crt", "cert_file": certificate}
    found = list(examined.files(patient(tmp_path, tls=True, key_file=key, **files)))
    assert [state for _, state in states(found)] == ["warning", "ok"]
    assert "ends in 9 days" in found[0].says
    key.chmod(0o644)
    (first, *_) = examined.files(patient(tmp_path, tls=True, key_file=key, **files))
    assert (first.state, first.remedy) == ("warning", f"chmod o-rwx {key}")
    other = authority.issue("other", "site/other").with_suffix(".key")
    with pytest.raises(ConfigError, match="cannot be used"):
        list(examined.files(patient(tmp_path, tls=True, key_file=other, **files)))
    assert states(examined.files(patient(tmp_path))) == [("certificates", "skipped")]


def test_what_systemd_hands_over(tmp_path: Path) -> None:
    """A credential of a service that does not run is no problem; nothing can be said of it before."""
    secret = examined.CREDENTIALS / "edge-inspect.service" / "mqtt-password"
    stopped = patient(tmp_path, username="a", password_file=secret)
    assert states(examined.files(stopped)) == [("certificates", "skipped")]
    assert states(examined.login(stopped)) == [("broker", "skipped")]


def test_the_login_is_acknowledged(tmp_path: Path, broker: Broker) -> None:
    """A broker that lets us in acknowledges a message, also where its rules forbid it."""
    assert states(examined.login(patient(tmp_path, port=broker.port))) == [("broker", "ok")]
    broker.stop()
    (tmp_path / "acl").write_text("pattern write inspect/v1/%c/#\n")
    strict = make_broker(tmp_path, "allow_anonymous true", f"acl_file {tmp_path / 'acl'}")
    strict.start()
    assert states(examined.login(patient(tmp_path, port=strict.port))) == [("broker", "ok")]
    strict.stop()


def test_a_login_that_is_refused(tmp_path: Path) -> None:
    """A broker that asks for a password says so."""
    closed = make_broker(tmp_path, "allow_anonymous false")
    closed.start()
    with pytest.raises(BrokerError, match=r"mqtt\.username"):
        list(examined.login(patient(tmp_path, port=closed.port)))
    closed.stop()


def test_mutual_tls(tmp_path: Path, tls: Callable[..., Broker], authority: Authority) -> None:
    """With its own certificate a device passes each step; without it the login says what is missing."""
    port = tls(f"cafile {tmp_path / 'ca' / 'ca.crt'}", "require_certificate true", "allow_anonymous true").port
    certificate = authority.issue("device", "site/dut")
    own = {"cert_file": certificate, "key_file": certificate.with_suffix(".key")}
    assert {state for _, state in states(examined.login(trusting(tmp_path, port, **own)))} == {"ok"}
    assert {state for _, state in states(examined.server(trusting(tmp_path, port, **own)))} == {"ok"}
    with pytest.raises(BrokerError, match=r"mqtt\.cert_file"):
        list(examined.login(trusting(tmp_path, port)))
