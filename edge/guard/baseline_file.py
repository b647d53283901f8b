"""The baseline as one file in the state folder: JSON with a checksum, a few dozen kilobytes, replaced as a whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON
from edge.errors import DataError
from edge.guard.baseline import RETAKE, Baseline

if TYPE_CHECKING:
    from pathlib import Path

FILE = "baseline.json"
VERSION = 1
_LARGEST = 128 << 10
"""Bytes; two pictures of 160 x 160 take 69 KB."""


class _Envelope(msgspec.Struct):
    version: int
    sha256: str = ""
    """Of the baseline's JSON as it stands in the file."""
    baseline: msgspec.Raw = msgspec.Raw(b"null")


def write(path: Path, baseline: Baseline) -> None:
    """Have the file hold this baseline, also after a power cut; raises OSError."""
    content = msgspec.json.encode(baseline)
    digest = hashlib.sha256(content).hexdigest()
    storage.replace_file(path, msgspec.json.encode(_Envelope(VERSION, digest, msgspec.Raw(content))))


def read(path: Path) -> Baseline | None:
    """Return the baseline, None if none was taken; raises DataError, one line, if it cannot be used."""
    try:
        data = storage.read_plain(path, _LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: the baseline cannot be read ({error.strerror or error})") from error
    if len(data) > _LARGEST:
        raise DataError(f"{path}: larger than any baseline; {RETAKE}")
    try:
        return _decoded(data)
    except (*NOT_JSON, ValueError) as error:
        raise DataError(f"{path}: no baseline that can be used ({error}); {RETAKE}") from error


def _decoded(data: bytes) -> Baseline:
    envelope = msgspec.json.decode(data, type=_Envelope)
    if envelope.version != VERSION:
        raise ValueError(f"version {envelope.version}, this program knows {VERSION}")
    content = bytes(envelope.baseline)
    if hashlib.sha256(content).hexdigest() != envelope.sha256:
        raise ValueError("damaged: its checksum is another")
    return msgspec.json.decode(content, type=Baseline)
