"""What may stand where a host is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import config
from edge.contract.names import is_host
from edge.errors import ConfigError


@pytest.mark.parametrize(
    "host",
    [
        "mqtt://x",
        "a b",
        "localhost:1883",
        "10.0.0.7:1883",
        "cafe:1883",
        ":",
        "a\x00b",
        "a..b",
        "[::1]",
        "x" * 64,
        "u@h",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    """An address with a port, a scheme or what no resolver takes is named: the daemon would try it for ever."""
    assert not is_host(host)
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "mqtt": {"host": host}}
    with pytest.raises(ConfigError) as refused:
        config.parse(table, Path("device.toml"))
    assert f"host {host!r} is not a host name or address; the port is a key of its own" in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "10.0.0.7", "::1", "fe80::1%eth0", "broker.hall-2.example.", "bröker"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    """Names, also with other letters, and addresses of both families are taken as they are."""
    assert is_host(host)
