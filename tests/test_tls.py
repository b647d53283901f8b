"""TLS from the configuration, against a real mosquitto with a private CA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from conftest import Broker, make_broker
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from device import assert_one_clear_line, end, run_inspect, running_daemon, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return the CA that the broker and the device trust."""
    return Authority(tmp_path, "factory-ca")


@pytest.fixture
def tls_broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    """Run a broker that asks for client certificates."""
    certificate, key = authority.issue("broker")
    files = (f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}")
    broker = make_broker(tmp_path, *files, "require_certificate true", "allow_anonymous true")
    broker.start()
    yield broker
    broker.stop()


def config_for(tmp_path: Path, bundle: Path, port: int, **mqtt: object) -> Path:
    camera = {"kind": "synthetic", "rate": 0, "frames": 3}
    settings = {"host": "127.0.0.1", "port": port, "tls": True, **mqtt}
    return write_config(tmp_path / "device.toml", bundle=bundle, camera=camera, mqtt=settings)


def test_verdicts_travel_over_mutual_tls(
    tmp_path: Path, tls_broker: Broker, authority: Authority, demo_bundle: Path
) -> None:
    """With the right CA and a certificate of its own the device delivers all its verdicts."""
    certificate, key = authority.issue("device")
    files = {"ca_file": str(authority.certificate), "cert_file": str(certificate), "key_file": str(key)}
    config = config_for(tmp_path, demo_bundle, tls_broker.port, **files)
    with running_daemon(config) as daemon:
        log = end(daemon)
        assert daemon.returncode == 0, log


def test_a_broker_of_another_ca_is_refused(
    tmp_path: Path, tls_broker: Broker, authority: Authority, demo_bundle: Path
) -> None:
    """A broker whose certificate another CA signed is never talked to, and the line says so."""
    certificate, key = authority.issue("device")
    stranger = Authority(tmp_path, "other-ca").certificate
    files = {"ca_file": str(stranger), "cert_file": str(certificate), "key_file": str(key)}
    config = config_for(tmp_path, demo_bundle, tls_broker.port, **files)
    assert_one_clear_line(run_inspect("check", "--config", config, "--live"), 7, "certificate verify failed")


def test_a_device_without_its_certificate_is_refused(
    tmp_path: Path, tls_broker: Broker, authority: Authority, demo_bundle: Path
) -> None:
    """A broker that asks for a certificate refuses a device that has none."""
    config = config_for(tmp_path, demo_bundle, tls_broker.port, ca_file=str(authority.certificate))
    assert_one_clear_line(run_inspect("check", "--config", config, "--live"), 7, "mqtt.cert_file")


def test_missing_tls_files(tmp_path: Path, demo_bundle: Path) -> None:
    """A CA file that is not there is a configuration error that names it."""
    config = config_for(tmp_path, demo_bundle, 1, ca_file=str(tmp_path / "none.pem"))
    assert_one_clear_line(run_inspect("run", "--config", config), 3, "none.pem")


def test_an_encrypted_key_asks_nobody(tmp_path: Path, authority: Authority, demo_bundle: Path) -> None:
    """A private key with a passphrase is a configuration error, found without --live, not a question that waits."""
    certificate, key = authority.issue("device")
    private = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    config = config_for(tmp_path, demo_bundle, 1, cert_file=str(certificate), key_file=str(key))
    assert_one_clear_line(run_inspect("check", "--config", config), 3, "key_file is encrypted")
