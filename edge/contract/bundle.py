"""Contract 1: the model bundle, a folder (or a zip of it) with all a device needs to judge.

A bundle is data from outside: its names, sizes, JSON and hashes are checked here, before any
interpreter sees a byte. What the .tflite already knows (size, dtype, scale) is not written down again.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON
from edge.contract.names import is_clean
from edge.contract.pooling import Mean, Pooling
from edge.contract.preprocess import PreprocessSpec
from edge.errors import BundleError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.tflite"
EDGE_TPU_MODEL = "model_edgetpu.tflite"
"""The same model for the Edge TPU; optional."""
MAX_MANIFEST_BYTES = 1 << 20
MAX_BUNDLE_BYTES = 256 << 20
"""All files of a bundle together: they are held in the memory of a Raspberry Pi."""
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
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    code_version: str
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2)]
    preprocess: PreprocessSpec = PreprocessSpec()
    pooling: Pooling = Mean()
    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=100)] = 1.0
    thresholds: Thresholds = Thresholds()
    golden_tolerance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    dataset: Dataset
    metrics: dict[str, float]
    files: dict[str, _SHA256] = {}

    def __post_init__(self) -> None:
        """Refuse labels that cannot be told apart or would pass every part; raises ValueError."""
        if all(label.verdict == "PASS" for label in self.labels):
            raise ValueError("no label means DEFECT: such a model would pass every part")
        for label in self.labels:
            if not is_clean(label.name):
                raise ValueError(f"label {label.name!r} has control characters in its name")
        name, count = Counter(label.name for label in self.labels).most_common(1)[0]
        if count > 1:
            raise ValueError(f"label {name!r} stands {count} times")


class Bundle(Record, frozen=True):
    """A bundle whose listed files all match their hashes."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json: identifies the whole bundle, decision rule included."""
    files: Mapping[str, bytes]
    """The content of every listed file by name, as it was when its hash was checked."""

    def __repr__(self) -> str:
        """Leave out the files' bytes."""
        return f"Bundle({str(self.path)!r}, sha256={self.sha256!r})"

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
    with storage.opened(path) as source:
        raw = storage.read_file(source, MANIFEST, MAX_MANIFEST_BYTES)
        if keys:
            from edge.contract import signing

            signing.verify(raw, storage.read_file(source, SIGNATURE, MAX_MANIFEST_BYTES), keys)
        manifest = parse_manifest(raw)
        files: dict[str, bytes] = {}
        left = MAX_BUNDLE_BYTES
        for name, digest in manifest.files.items():
            files[name] = storage.read_file(source, name, left)
            _require_hash(path, name, files[name], digest)
            left -= len(files[name])
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest(), files)


def content(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    """Yield all files by name, to copy them; the two that its manifest does not list are read anew, as strictly.

    Raises BundleError if it has changed since it was read.
    """
    with storage.opened(bundle.path) as source:
        raw = storage.read_file(source, MANIFEST, MAX_MANIFEST_BYTES)
        if hashlib.sha256(raw).hexdigest() != bundle.sha256:
            raise BundleError(f"{bundle.path} changed since it was read; try again")
        yield MANIFEST, raw
        if source.has(SIGNATURE):
            yield SIGNATURE, storage.read_file(source, SIGNATURE, MAX_MANIFEST_BYTES)
    yield from bundle.files.items()


def identify(path: Path) -> str:
    """Return the SHA-256 of a bundle's manifest.json, of whose files none is looked at; raises BundleError."""
    with storage.opened(path) as source:
        return hashlib.sha256(storage.read_file(source, MANIFEST, MAX_MANIFEST_BYTES)).hexdigest()


def _require_hash(path: Path, name: str, data: bytes, digest: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BundleError(f"{path}: {name} is damaged: its SHA-256 is {found[:9]}..., not {digest[:9]}...")


def parse_manifest(raw: bytes) -> Manifest:
    """Decode manifest.json; raises BundleError for wrong JSON, fields, versions, names or labels."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except NOT_JSON as error:
        remedy = "rebuild the bundle with this version's edge-train build"
        raise BundleError(f"{MANIFEST}: {error}; {remedy}") from error
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

    The manifest's `files` are computed here. An older bundle at `path` is replaced as `storage.write` does;
    anything else at `path` is left alone and raises BundleError.
    """
    refuse_overwrite(path)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    raw = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=hashes)), indent=2) + b"\n"
    parse_manifest(raw)
    signature = {} if signing_key is None else {SIGNATURE: signing_key.sign(raw)}
    storage.write(path, {MANIFEST: raw, **signature, **files})
    return read(path)


def refuse_overwrite(path: Path) -> None:
    """Raise BundleError if something lies at `path` that `write` would not replace: all but a bundle or nothing."""
    if path.is_symlink() or path.exists():
        empty = path.is_dir() and not any(path.iterdir())
        if not empty and not _looks_like_bundle(path):
            raise BundleError(f"{path} exists and is not a bundle: choose another --out, nothing was overwritten")


def _looks_like_bundle(path: Path) -> bool:
    """Tell whether a folder or zip has a bundle's files, damaged or not: a manifest.json alone may be anything's."""
    try:
        with storage.opened(path) as source:
            return source.has(MANIFEST) and source.has(MODEL)
    except BundleError:
        return False
