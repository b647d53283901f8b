"""`edge-deploy broker` and `certify`: what they write, what they leave alone, and what they refuse."""

from __future__ import annotations

import re
import socket
import ssl
import time
import tomllib
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from rigs import deploy
from shipped import client, log_in, shipped_broker

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files of a folder hold."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Hold a command against one clear line with these words."""
    assert done.returncode == 9, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("edge-deploy: ")
    for word in words:
        assert word in line


def make(folder: Path, *more: str) -> str:
    """Write a broker's files and return what was printed."""
    done = deploy("broker", folder, "--host", "broker.hall-1", "--host", "10.0.0.7", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_certificates_are_made_once(tmp_path: Path) -> None:
    """A second run keeps the CA, so that devices stay let in; keys are for their owner's eyes only."""
    make(tmp_path)
    before = contents(tmp_path)
    make(tmp_path)
    after = contents(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {"broker.crt", "broker.key"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}


@pytest.mark.parametrize("lost", ["ca.crt", "ca.key", "ca.crt and ca.key"])
def test_a_lost_ca_is_not_made_anew(tmp_path: Path, lost: str) -> None:
    """Where a file of the CA is missing, nothing is written: a new CA would lock out all devices."""
    make(tmp_path)
    for name in lost.split(" and "):
        (tmp_path / name).unlink()
    before = contents(tmp_path)
    for command in (("broker", tmp_path, "--host", "broker.hall-1"), ("certify", tmp_path, "test/dut")):
        refused(deploy(*command), f"has lost {lost}, ", "put it back")
    assert contents(tmp_path) == before


def test_what_people_changed_is_kept(tmp_path: Path) -> None:
    """A new certificate for the broker costs neither the rules nor the settings that a hall added, and names them."""
    make(tmp_path, "--port", "8884")
    changed = {"acl": b"\nuser hall/dut\ntopic write spBv1.0/G/NDATA/\xff\n", "mosquitto.conf": b"\nlistener 1883\n"}
    for name, more in changed.items():
        path = tmp_path / name
        path.write_bytes(path.read_bytes() + more)
    before = contents(tmp_path)
    printed = make(tmp_path)
    assert {name for name, text in contents(tmp_path).items() if text != before[name]} == {"broker.crt", "broker.key"}
    assert re.findall(r"^kept .*/(\S+),", printed, re.MULTILINE) == ["mosquitto.conf", "acl"]
    assert "kept" not in make(tmp_path / "fresh")


def test_what_nobody_changed_follows_the_options(tmp_path: Path) -> None:
    """Another port reaches each file that is as it was written; without --port the port stays."""
    make(tmp_path, "--port", "8884")
    for options, port in (((), 8884), (("--port", "8885"), 8885)):
        assert "kept" not in make(tmp_path, *options)
        assert f"\nlistener {port}\n" in (tmp_path / "mosquitto.conf").read_text()
        assert f'bind = "0.0.0.0:{port}"' in (tmp_path / "emqx.conf").read_text()


@pytest.mark.parametrize("before", ["", "listener 1883\nallow_anonymous true\n"])
def test_certify_prints_what_a_device_needs(tmp_path: Path, before: str) -> None:
    """What is printed for the device's configuration has the broker's host and port, and the certificate's end."""
    make(tmp_path, "--port", "8884")
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(before + settings.read_text())
    done = deploy("certify", tmp_path, "hall-2/lathe-7")
    assert done.returncode == 0, done.stderr
    assert re.search(r"good until \d{4}-\d\d-\d\d$", done.stdout.splitlines()[0])
    configuration = tomllib.loads(done.stdout.partition("\n\n")[2])
    assert configuration["device"] == {"site": "hall-2", "id": "lathe-7"}
    assert configuration["mqtt"] == {
        "host": "broker.hall-1",
        "port": 8884,
        "tls": True,
        "ca_file": "ca.crt",
        "cert_file": "hall-2.lathe-7.crt",
        "key_file": "hall-2.lathe-7.key",
    }


@pytest.mark.parametrize("lost", ["broker.crt", "mosquitto.conf"])
def test_certify_where_there_is_no_broker(tmp_path: Path, lost: str) -> None:
    """A folder without a broker's files gets no certificates, and a line that says how to make them."""
    make(tmp_path)
    (tmp_path / lost).unlink()
    refused(deploy("certify", tmp_path, "test/dut"), lost, "edge-deploy broker")
    assert not list(tmp_path.glob("test.dut.*"))


LONG = "a" * 32
NO_DEVICES = ["cam-1", "plant/", "/cam", "plant/cam/1", "plant/cäm", "../x", "a/b\n", f"{LONG}/{LONG}", "a/" + 2 * LONG]


@pytest.mark.parametrize("name", NO_DEVICES)
def test_a_name_that_is_no_device(tmp_path: Path, name: str) -> None:
    """A name that would reach beyond its own topics, or out of the folder, or is too long, is one clear line."""
    make(tmp_path)
    before = contents(tmp_path)
    refused(deploy("certify", tmp_path, name), "is not SITE/DEVICE", "64 characters in all")
    assert contents(tmp_path) == before


def test_a_name_as_long_as_a_certificate_holds(tmp_path: Path) -> None:
    """A site and a device of 64 characters together get their certificate."""
    make(tmp_path)
    done = deploy("certify", tmp_path, f"{LONG}/{LONG[1:]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", ["", "a b", "a" * 64, f"{'abcdefg.' * 32}de", "*.hall", 'a"b', "a..b", "fe80::1%eth0"])
def test_a_host_that_is_none(tmp_path: Path, host: str) -> None:
    """A host that no certificate can name is one clear line, and nothing is written."""
    refused(deploy("broker", tmp_path / "new", "--host", host), "--host", "not an address")
    assert not (tmp_path / "new").exists()


def test_hosts_that_no_common_name_would_hold(tmp_path: Path) -> None:
    """A host of more than 64 characters, or with letters beyond ASCII, is one that clients find in the certificate."""
    hosts = ["müller", f"{'abcdefg.' * 10}de", "fd00::7"]
    with shipped_broker(tmp_path, *hosts) as broker:
        context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        context.load_cert_chain(tmp_path / "operator.crt", tmp_path / "operator.key")
        for host in hosts:
            with (
                socket.create_connection(("127.0.0.1", broker.port), 10) as link,
                context.wrap_socket(link, server_hostname=host) as secured,
            ):
                assert secured.version() == "TLSv1.3"


def test_a_new_certificate_needs_a_reload_only(tmp_path: Path) -> None:
    """A broker that is told to read its files anew shows the new certificate, and nobody's connection ends."""
    with shipped_broker(tmp_path) as broker, client(broker, tmp_path / "test.dut.crt") as device:
        log_in(device, broker)
        make(tmp_path)
        new = x509.load_pem_x509_certificate((tmp_path / "broker.crt").read_bytes()).serial_number
        broker.reload()
        deadline = time.monotonic() + 10
        while shown(tmp_path, broker.port) != new:
            assert time.monotonic() < deadline
        assert device.is_connected()


def shown(folder: Path, port: int) -> int:
    """Return the number of the certificate that a broker shows."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), 10) as link, context.wrap_socket(link) as secured:
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"").serial_number
