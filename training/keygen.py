"""`edge-train keygen`: makes the key that signs bundles."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from edge.command import add_command, to_path
from edge.contract import signing
from edge.errors import ConfigError

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_OWNER_ONLY = 0o600
_DESCRIPTION = """Write a new private key (Ed25519, PEM) and print its public half.

Sign bundles with `edge-train build --key FILE`. List the public half under trusted_keys in a device's
configuration, and the device takes no other bundles.
"""
_EXAMPLE = """example:
  edge-train keygen --out ~/signing-key.pem

"""


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "make a key to sign bundles with"
    parser = add_command(subparsers, "keygen", summary=summary, description=_DESCRIPTION, examples=_EXAMPLE)
    parser.add_argument("--out", type=to_path, required=True, metavar="FILE", help="the private key; never overwritten")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Write the key, readable by its owner only, and print the public half; raises ConfigError if it cannot."""
    pem = signing.generate_key()
    try:
        handle = os.open(arguments.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise ConfigError(f"{arguments.out} exists: a key is never overwritten; choose another --out") from None
    except OSError as error:
        raise ConfigError(f"--out {arguments.out}: {error.strerror}; choose a folder you may write to") from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    print(signing.public_text(signing.load_key(pem)))
    print(f"private key in {arguments.out}: keep it safe; the line above goes to trusted_keys", file=sys.stderr)
    return 0


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read the key of --key; raises ConfigError."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--key {path}: {error.strerror}; make one with edge-train keygen --out {path}") from error
    try:
        return signing.load_key(pem)
    except ConfigError as error:
        raise ConfigError(f"--key {path}: {error}") from error
