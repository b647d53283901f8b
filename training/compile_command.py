"""`edge-train compile`: adds the model for the Edge TPU to a bundle."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from edge.command import add_command, to_path
from edge.contract import bundle as bundles
from edge.contract import signing, storage
from edge.errors import BundleError
from training import progress
from training.keygen import read_key

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edge.contract.bundle import Bundle
    from training.int8.edgetpu import Compiled

_DESCRIPTION = """Compile a bundle's model for the Edge TPU with Google's edgetpu_compiler.

The bundle gets model_edgetpu.tflite, the compiler's log, and in its report which operators run where. The compiler
runs on x86-64 Linux only: on this machine, in a container, or on another host that you log in to with a key.
"""
_EXAMPLES = """examples:
  edge-train compile parts.bundle
      with the edgetpu_compiler on PATH
  edge-train compile parts.bundle --out parts-tpu.bundle --compiler docker:edgetpu-compiler
      with the one in a container image, and leave the bundle as it was
  edge-train compile parts.bundle --compiler ssh:build@x86-host --key ~/signing-key.pem
      with the one on another host, and sign again: a signed bundle takes the key that signed it

"""


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "add the model for the Edge TPU to a bundle"
    parser = add_command(subparsers, "compile", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    add = parser.add_argument
    add("bundle", type=to_path, metavar="BUNDLE", help="a bundle's folder or zip")
    add("--out", type=to_path, metavar="BUNDLE", help="write another bundle (default: replace this one)")
    add(
        "--compiler", default="edgetpu_compiler", metavar="WHERE",
        help="PATH or name of the program, docker:IMAGE, podman:IMAGE or ssh:USER@HOST (default edgetpu_compiler)",
    )  # fmt: skip
    add("--allow-cpu", action="store_true", help="take a model of which some operators run on the CPU")
    add("--timeout", type=_seconds, default=180, metavar="SECONDS", help="the compiler's time limit (default 180)")
    add("--key", type=to_path, metavar="PEM", help="sign the bundle with this key (edge-train keygen)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Check, compile, write; prints what runs where."""
    from training.int8 import edgetpu, edgetpu_plan, edgetpu_report

    compiler = edgetpu_plan.parse(arguments.compiler)
    key = read_key(arguments.key) if arguments.key else None
    bundle = _read(arguments.bundle, key)
    out = arguments.out or arguments.bundle
    bundles.refuse_overwrite(out)
    _print_findings(bundle.model)
    with progress.stage("compiling for the Edge TPU", 1) as advance:
        compiled = edgetpu.compile_model(
            bundle.model,
            compiler,
            seconds=arguments.timeout,
            allow_cpu=arguments.allow_cpu,
            say=lambda text: print(text, file=sys.stderr),
        )
        advance()
    files = edgetpu_report.added(bundle.files, compiled)
    _require_room(files)
    written = bundles.write(out, bundle.manifest, files, signing_key=key)
    print(_summary(written, compiled))
    return 0


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 86_400):  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")
    return int(text)


def _read(path: Path, key: Ed25519PrivateKey | None) -> Bundle:
    """Read a bundle; a signed one only with the key that signed it, as the signature does not cover what is added."""
    with storage.opened(path) as source:
        is_signed = source.has(bundles.SIGNATURE)
    if is_signed and key is None:
        remedy = "give the key that signed it: --key PEM"
        raise BundleError(f"{path} is signed, and its signature does not cover what compiling adds; {remedy}")
    return bundles.read(path, trusted_keys=[signing.public_text(key)] if is_signed and key else [])


def _print_findings(model: bytes) -> None:
    """Say what is known to keep a model off the Edge TPU, layer by layer, before the compiler only says no."""
    from training.int8 import flatbuffer

    for finding in flatbuffer.inspect(model):
        print(f"{finding.severity}: {finding}", file=sys.stderr)


def _require_room(files: dict[str, bytes]) -> None:
    total = sum(map(len, files.values()))
    if total > bundles.MAX_BUNDLE_BYTES:
        limit = bundles.MAX_BUNDLE_BYTES
        raise BundleError(f"with the compiled model the bundle has {total} bytes; at most {limit} fit a device")


def _summary(written: Bundle, compiled: Compiled) -> str:
    found = compiled.mapping.plain()
    rows = [f"  {row['operator']:<30} {row['count']:>5}  {row['status']}" for row in found["mapping"]]
    memory = "".join(f", {size} {name.replace('_', ' ')}" for name, size in found["memory"].items())
    head = f"{written.path}: {found['mapped']} of {found['operators']} operators run on the Edge TPU"
    return "\n".join([f"{head} (compiler {found['compiler']}{memory})", *rows])
