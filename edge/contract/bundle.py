"""Contract 1: the model bundle, a folder (or a zip of it) with all a device needs to judge.

A bundle is data from outside: its names, sizes, JSON and hashes are checked here, before any
interpreter sees a byte. What the .tflite already knows (size, dtype, scale) is not written down again.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from edge.contract.preprocess import PreprocessSpec
from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.tflite"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_SHA256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the manifest; an unknown field may change verdicts, so it is refused."""


class Label(_Part, frozen=True, kw_only=True):
    """One class, in the order of the model's logits, and what it means for the part."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    verdict: Literal["PASS", "DEFECT"]


class Thresholds(_Part, frozen=True, kw_only=True):
    """The decision rule on P(defect), the sum of all DEFECT labels' scores, 0-1.

    At or above `defect_at` the part is DEFECT, below `pass_below` it is PASS, between them UNKNOWN.
    """

    pass_below: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    defect_at: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        """Refuse an inverted band; raises ValueError."""
        if self.pass_below > self.defect_at:
            raise ValueError(f"pass_below {self.pass_below} must not be above defect_at {self.defect_at}")


class Dataset(_Part, frozen=True, kw_only=True):
    """What the model was trained on: a hash over every picture's name and bytes, their number, the seed."""

    sha256: _SHA256
    pictures: Annotated[int, msgspec.Meta(ge=0)]
    seed: int


class Manifest(_Part, frozen=True, kw_only=True):
    """manifest.json: `files` lists every other file's SHA-256, the rest is how to use them."""

    format: Literal[1] = 1
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    created: datetime
    code_version: str
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2)]
    preprocess: PreprocessSpec = PreprocessSpec()
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    thresholds: Thresholds = Thresholds()
    golden_tolerance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    dataset: Dataset
    metrics: dict[str, float]
    files: dict[str, _SHA256] = {}

    def __post_init__(self) -> None:
        """Refuse labels that cannot be told apart; raises ValueError."""
        names = [label.name for label in self.labels]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"label {twice[0]!r} stands twice")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose listed files all match their hashes."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json: identifies the whole bundle, decision rule included."""
    files: Mapping[str, bytes] = field(repr=False)
    """The content of every listed file by name, as it was when its hash was checked."""

    @property
    def model(self) -> bytes:
        """The int8 TFLite flatbuffer."""
        return self.files[MODEL]

    @property
    def model_sha256(self) -> str:
        """The model file's SHA-256, as events carry it."""
        return self.manifest.files[MODEL]


def read(path: Path, *, trusted_keys: Iterable[str] = ()) -> Bundle:
    """Read a bundle folder or zip and verify every hash, and with `trusted_keys` its signature.

    Raises BundleError: one line that names the file and what is wrong with it.
    """
    keys = tuple(trusted_keys)
    with _open(path) as source:
        raw = _read(source, MANIFEST, MAX_MANIFEST_BYTES)
        if keys:
            from edge.contract import signing

            signing.verify(raw, _read(source, SIGNATURE, MAX_MANIFEST_BYTES), keys)
        manifest = parse_manifest(raw)
        files = {name: _verified(source, name, digest) for name, digest in manifest.files.items()}
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest(), files)


def parse_manifest(raw: bytes) -> Manifest:
    """Decode manifest.json; raises BundleError for wrong JSON, fields, versions, names or labels."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{MANIFEST}: {error}; this version reads bundles of format 1") from error
    for name in manifest.files:
        if not _SAFE_NAME.fullmatch(name) or name in (MANIFEST, SIGNATURE):
            raise BundleError(f"{MANIFEST}: file name {name!r} is not allowed in a bundle")
    if MODEL not in manifest.files:
        raise BundleError(f"{MANIFEST}: lists no {MODEL}; rebuild the bundle with edge-train build")
    return manifest


def write(
    path: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    signing_key: Ed25519PrivateKey | None = None,
) -> Bundle:
    """Write a bundle folder (or a zip, by the ending .zip) and return it as `read` sees it.

    The manifest's `files` are computed here. An older bundle at `path` is replaced in one step, so a
    crash leaves either of the two; anything else at `path` is left alone and raises BundleError.
    """
    refuse_overwrite(path)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    raw = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=hashes)), indent=2) + b"\n"
    parse_manifest(raw)
    content = {MANIFEST: raw, **files}
    if signing_key is not None:
        content[SIGNATURE] = signing_key.sign(raw)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        fresh = Path(scratch, "new")
        (_write_zip if path.suffix == ".zip" else _write_folder)(fresh, content)
        if path.is_dir():
            path.rename(Path(scratch, "old"))
        fresh.replace(path)
    return read(path)


def refuse_overwrite(path: Path) -> None:
    """Raise BundleError if something lies at `path` that `write` would not replace: all but a bundle or nothing."""
    bundle_there = (path / MANIFEST).is_file() if path.is_dir() else path.suffix == ".zip" and path.is_file()
    if path.exists() and not bundle_there and not (path.is_dir() and not any(path.iterdir())):
        raise BundleError(f"{path} exists and is not a bundle: choose another --out, nothing was overwritten")


def _write_folder(folder: Path, content: Mapping[str, bytes]) -> None:
    for name, data in content.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _write_zip(path: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


_FAULTS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile and the file system raise for damaged, encrypted or unreadable files."""


@contextmanager
def _open(path: Path) -> Iterator[Path | zipfile.ZipFile]:
    if not path.exists():
        raise BundleError(f"{path}: no such bundle; build one with edge-train build --out {path}")
    if path.is_dir():
        yield path.resolve()
        return
    try:
        archive = zipfile.ZipFile(path)
    except _FAULTS as error:
        raise BundleError(f"{path}: neither a bundle folder nor a zip of one ({error})") from error
    with archive:
        yield archive


def _read(source: Path | zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Read one file, by count: the size in a zip's directory is only the sender's claim."""
    try:
        with _inside(source, name).open("rb") if isinstance(source, Path) else source.open(name) as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise BundleError(f"{_name_of(source)}: {name} is missing from the bundle") from None
    except BundleError:
        raise
    except _FAULTS as error:
        raise BundleError(f"{_name_of(source)}: {name} cannot be read ({error})") from error
    if len(data) > limit:
        raise BundleError(f"{_name_of(source)}: {name} is larger than the limit of {limit} bytes")
    return data


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise BundleError(f"{root}: {name} points outside the bundle")
    return path


def _name_of(source: Path | zipfile.ZipFile) -> str:
    return str(source if isinstance(source, Path) else source.filename)


def _verified(source: Path | zipfile.ZipFile, name: str, digest: str) -> bytes:
    data = _read(source, name, MAX_FILE_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BundleError(f"{_name_of(source)}: {name} is damaged: its SHA-256 is {found[:9]}..., not {digest[:9]}...")
    return data
