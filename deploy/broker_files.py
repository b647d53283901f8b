"""`edge-deploy broker` and `certify`: what a broker needs, written into one folder."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING

from deploy.certificates import BROKER, CA, OPERATOR, Authority, device_file, dns_name, end_of, first_host
from edge.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TEMPLATES = ("mosquitto.conf", "acl", "emqx.conf", "emqx-acl.conf")
DEFAULT_PORT = 8883
"""IANA's for MQTT over TLS."""
_SECURE_LISTENER = r"^listener\s+(\d+)\b.*\n(?:(?!listener\s).*\n)*?certfile\s"
_MOSQUITTO = "mosquitto"
"""The user that Debian's mosquitto runs as."""


def write(folder: Path, hosts: Sequence[str], port: int | None) -> int:
    """Write certificates, configuration and access rules, and say how to start; returns 0.

    The CA stays, and each file that people have changed. None for the port: that of the configuration that is there.
    """
    names = [dns_name(host) for host in hosts]
    folder = folder.absolute()
    certificate = Authority(folder).issue(BROKER, "edge-inspect broker", names)
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    _write_templates(folder, port)
    _hand_over(folder)
    print(f"wrote {folder}: start it with  mosquitto -c {folder / 'mosquitto.conf'}")
    print(f"{certificate.name} is good until {end_of(certificate)}, ca.crt until {end_of(folder / f'{CA}.crt')}")
    print(f"give a device its certificate:       edge-deploy certify {folder} SITE/DEVICE")
    print(f"and those who see and command them:  edge-deploy certify {folder} {OPERATOR}")
    return 0


def certify(folder: Path, name: str) -> int:
    """Give a device or an operator a certificate, and say what its configuration needs; returns 0."""
    file = OPERATOR if name == OPERATOR else device_file(name)
    host, port = _address(folder)
    path = Authority(folder).issue(file, name)
    print(f"wrote {path} and {path.with_suffix('.key').name}, good until {end_of(path)}")
    if name == OPERATOR:
        return 0
    site, _, device = name.partition("/")
    print("with them and ca.crt beside it, the device's configuration says:\n")
    print(f'[device]\nsite = "{site}"\nid = "{device}"\n')
    print(f'[mqtt]\nhost = "{host}"\nport = {port}\ntls = true\nca_file = "ca.crt"')
    print(f'cert_file = "{path.name}"\nkey_file = "{path.stem}.key"')
    return 0


def _write_templates(folder: Path, port: int | None) -> None:
    """Write what is not there, or is as we wrote it; what people made of it is theirs."""
    settings = folder / "mosquitto.conf"
    before = (_port(settings.read_text("utf-8", "replace")) if settings.exists() else None) or DEFAULT_PORT
    for name in _TEMPLATES:
        template = files("deploy").joinpath("broker", name).read_text("utf-8").replace("@FOLDER@", str(folder))
        ours, earlier = (template.replace("@PORT@", str(each)).encode() for each in (port or before, before))
        path = folder / name
        if path.exists() and path.read_bytes() not in {ours, earlier}:
            print(f"kept {path}, which is not as this program writes it: to have it written anew, move it away")
            continue
        path.write_bytes(ours)
        path.chmod(0o600)


def _address(folder: Path) -> tuple[str, int]:
    """Return by which name and at which port devices find the broker; raises DeployError where there is none."""
    try:
        host = first_host(folder / f"{BROKER}.crt")
        port = _port((folder / "mosquitto.conf").read_text("utf-8", "replace"))
    except (OSError, ValueError) as error:
        raise DeployError(f"{folder} has no broker ({error}): run  edge-deploy broker {folder} --host NAME") from error
    if port is None:
        raise DeployError(f"{folder / 'mosquitto.conf'} has no listener with a certificate: put it back")
    return host, port


def _port(settings: str) -> int | None:
    """Return the port of the listener that has a certificate: people may have added others."""
    found = re.search(_SECURE_LISTENER, settings, re.MULTILINE)
    return int(found[1]) if found else None


def _hand_over(folder: Path) -> None:
    """Let mosquitto, which leaves root's rights behind, read what it needs; the CA's key stays ours."""
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(_MOSQUITTO)
    except KeyError:
        return
    for name in ("broker.key", "mosquitto.conf", "acl", "data"):
        shutil.chown(folder / name, user.pw_uid, user.pw_gid)
