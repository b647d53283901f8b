"""A small bundle that is none of a model's: what the bundle's tests write, damage and read."""

from __future__ import annotations

import hashlib
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from edge.contract.bundle import Dataset, Label, Manifest

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Manifest(
    name="test",
    created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    code_version="1",
    labels=(Label(name="good", verdict="PASS"), Label(name="bad", verdict="DEFECT")),
    dataset=Dataset(sha256="0" * 64, pictures=2, seed=1),
    metrics={"accuracy": 0.5},
)
FILES = {"model.tflite": bytes(range(200)), "golden/0.png": b"picture", "golden/expected.json": b"{}"}


def imagenet(data: Path) -> tuple[Manifest, bytes]:
    """Return Coral's ImageNet model in the folder of outside data; its label file names some classes twice."""
    names = (data / "photos" / "imagenet_labels_1001.txt").read_text("utf-8").splitlines()
    unique = [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names)]
    labels = tuple(Label(name=name, verdict="DEFECT") for name in unique)
    model = (data / "weights" / "coral_mobilenet_v2_1.0_224_imagenet_int8.tflite").read_bytes()
    return msgspec.structs.replace(MANIFEST, name="imagenet", labels=labels), model


def raw_manifest(**changes: Any) -> dict[str, Any]:
    """The manifest as JSON data, with top-level fields changed, or left out where they are None."""
    listed = msgspec.structs.replace(MANIFEST, files={"model.tflite": hashlib.sha256(b"m").hexdigest()})
    data: dict[str, Any] = msgspec.to_builtins(listed) | changes
    return {key: value for key, value in data.items() if value is not None}


def zip_of(path: Path, *entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip of these entries."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path
