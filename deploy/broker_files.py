"""`edge-deploy broker` and `certify`: what a broker needs, written into one folder."""

from __future__ import annotations

import os
import pwd
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING

from deploy.certificates import BROKER, CA, OPERATOR, Authority, device_file
from edge.contract.names import is_host
from edge.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TEMPLATES = ("mosquitto.conf", "acl", "emqx.conf", "emqx-acl.conf")
_MOSQUITTO = "mosquitto"
"""The user that Debian's mosquitto runs as."""


def write(folder: Path, hosts: Sequence[str], port: int) -> int:
    """Write certificates, configuration and access rules, and say how to start; returns 0."""
    for host in hosts:
        if not is_host(host):
            raise DeployError(f"--host {host!r} is not a host's name or address")
    folder = folder.absolute()
    authority = Authority(folder)
    authority.issue(BROKER, hosts[0], hosts)
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    for name in _TEMPLATES:
        text = files("deploy").joinpath("broker", name).read_text("utf-8")
        written = folder / name
        written.write_text(text.replace("@FOLDER@", str(folder)).replace("@PORT@", str(port)), "utf-8")
        written.chmod(0o600)
    _hand_over(folder)
    print(f"wrote {folder}: start it with  mosquitto -c {folder / 'mosquitto.conf'}")
    print(f"give a device its certificate:       edge-deploy certify {folder} SITE/DEVICE")
    print(f"and those who see and command them:  edge-deploy certify {folder} {OPERATOR}")
    return 0


def certify(folder: Path, name: str) -> int:
    """Give a device or an operator a certificate, and say what its configuration needs; returns 0."""
    if not (folder / f"{CA}.crt").exists():
        raise DeployError(f"{folder} has no CA: run  edge-deploy broker {folder} --host NAME  first")
    file = OPERATOR if name == OPERATOR else device_file(name)
    path = Authority(folder).issue(file, name)
    if name == OPERATOR:
        print(f"wrote {path} and {path.with_suffix('.key').name}")
        return 0
    site, _, device = name.partition("/")
    print(f"wrote {path} and {path.with_suffix('.key').name}; with ca.crt beside the device's configuration it says:\n")
    print(f'[device]\nsite = "{site}"\nid = "{device}"\n')
    print('[mqtt]\ntls = true\nport = 8883\nca_file = "ca.crt"')
    print(f'cert_file = "{path.name}"\nkey_file = "{path.stem}.key"')
    return 0


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
