"""The table [mqtt]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from edge.contract.names import is_host
from edge.sections.base import Section, doc

LONGEST_PASSWORD = 10_000
"""Characters; MQTT ends at 65,535 bytes."""


class Mqtt(Section, frozen=True, kw_only=True):
    """The broker. A broker that is away is no reason to stop judging."""

    host: Annotated[str, doc("name or address", min_length=1, max_length=253)] = "localhost"
    port: Annotated[int, doc("1883 without TLS, 8883 with it, by custom", ge=1, le=65535)] = 1883
    protocol: Annotated[Literal["5", "3.1.1"], doc("the MQTT version the broker speaks")] = "5"
    username: Annotated[str, doc("empty: no login", max_length=1000)] = ""
    password: Annotated[str, doc("better kept in password_file", max_length=LONGEST_PASSWORD)] = ""
    password_file: Annotated[Path | None, doc("a file with the password on its first line")] = None
    tls: Annotated[bool, doc("encrypt, and check the broker's certificate and name")] = False
    ca_file: Annotated[Path | None, doc("PEM of the CA that signed the broker; left out: the system's")] = None
    cert_file: Annotated[Path | None, doc("PEM of this device's certificate, where the broker asks for one")] = None
    key_file: Annotated[Path | None, doc("PEM of its private key")] = None
    keepalive_s: Annotated[int, doc("a dead link is noticed after 1.5 times this many seconds", ge=5, le=3600)] = 30

    def __post_init__(self) -> None:
        """Refuse names that no resolver takes and combinations that would do less than asked; raises ValueError."""
        if not is_host(self.host):
            raise ValueError(f"host {self.host!r} is not a host name or address; the port is a key of its own")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both or neither")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError("ca_file and cert_file do nothing without tls = true")
        if self.password and self.password_file:
            raise ValueError("set password or password_file, not both")
        if (self.password or self.password_file) and not self.username:
            raise ValueError("a password needs a username")
