"""TFLite Metadata: what other tools learn of a model without our code.

The tables are those of TensorFlow's public metadata_schema.fbs (identifier M001). No maintained package ships code
for them, so they are built here with flatbuffers, each field by its number in that schema. As the official tools
do it, the metadata is the model's buffer TFLITE_METADATA, and the files it names are a ZIP behind the flatbuffer.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flatbuffers
import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.contract.pooling import Mean
from edge.errors import BundleError
from training.int8.verified import verified

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.contract.bundle import Manifest
    from training.int8.sigmoid import Sigmoid

LABELS = "labels.txt"
SCORE_CALIBRATION = "score_calibration.txt"
_BUFFER = b"TFLITE_METADATA"
_IDENTIFIER, _MODEL_IDENTIFIER = b"M001", b"TFL3"
_PARSER_VERSION = "1.0.0"
"""The schema's first version has all that is used here."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""One fixed date: the same model is the same file."""
_ALIGNMENT = 16
"""Of every buffer's bytes, as TensorFlow's schema.fbs asks (force_align) and its Python code does not do."""
_MEAN = _STD = 128.0
"""The graph's normalisation (pixel - mean) / std; the input's quantization (1/128, 0) makes that pixel - 128."""

# Numbers of the schema's enums and unions.
_AXIS_LABELS, _AXIS_SCORE_CALIBRATION = 2, 4  # AssociatedFileType
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_NORMALIZATION, _CALIBRATION = 1, 2  # ProcessUnitOptions
_RGB = 1  # ColorSpaceType


class _Builder(flatbuffers.Builder):  # type: ignore[misc] # It ships no types.
    """Builds tables from their fields' numbers; what a table refers to must be built before it."""

    def table(self, offsets: Mapping[int, int], numbers: Mapping[int, int] | None = None) -> int:
        """Build a table of references and of enums (one byte each)."""
        numbers = numbers or {}
        self.StartObject(max((*offsets, *numbers), default=-1) + 1)
        for field, offset in offsets.items():
            self.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, number in numbers.items():
            self.PrependInt8Slot(field, number, 0)
        return int(self.EndObject())

    def list(self, offsets: Iterable[int]) -> int:
        """Build a vector of references."""
        items = list(offsets)
        self.StartVector(4, len(items), 4)
        for offset in reversed(items):
            self.PrependUOffsetTRelative(offset)
        return int(self.EndVector())

    def floats(self, *values: float) -> int:
        """Build a vector of float32."""
        return int(self.CreateNumpyVector(np.array(values, np.float32)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tensor:
    """What is said of one input or output."""

    name: str
    description: str
    dimensions: tuple[str, ...]
    is_picture: bool = False
    files: tuple[tuple[str, str, int], ...] = ()
    """Name, description, type."""


def add(model: bytes, manifest: Manifest, *, sigmoid: Sigmoid | None = None) -> bytes:
    """Return the model with metadata, in place of any it had; its graph, weights and quantization stay the same.

    The model is contract 3's: outputs embedding [1, d], logit_map [1, h, w, n], logits [1, n]. The bundle's scores
    are softmax(logits / temperature), which the schema's calibration, a sigmoid of one logit, cannot say: they stand
    in the description. `sigmoid` (see `sigmoid.fit`) becomes the calibration that other tools apply. The same
    arguments give the same bytes. Raises BundleError for a model of another form.
    """
    _require_contract(model, len(manifest.labels))
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    data = np.frombuffer(_model_metadata(manifest, sigmoid), np.uint8)
    places = [entry.buffer for entry in content.metadata or [] if entry.name == _BUFFER]
    if not places:
        places = [len(content.buffers)]
        content.buffers.append(schema.BufferT())
        content.metadata = [*(content.metadata or []), schema.MetadataT(_BUFFER, places[0])]
    for place in places:
        content.buffers[place] = schema.BufferT(data)
    return _with_files(_packed(content), _files(manifest, sigmoid))


def _require_contract(model: bytes, labels: int) -> None:
    outputs = verified(model, "the model").outputs
    match [port.shape for port in outputs]:
        case [(1, _), (1, _, _, places), (1, logits)] if places == logits == labels:
            return
    found = ", ".join(map(str, outputs))
    raise BundleError(f"the model's outputs are {found}, not embedding, logit map and logits of {labels} labels")


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc] # It ships no types.
    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the schema's name
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return int(super().Pack(builder))


def _packed(content: Any) -> bytes:
    content.buffers = [_AlignedBuffer(one.data, one.offset, one.size) for one in content.buffers]
    builder = flatbuffers.Builder(sum(len(one.data) for one in content.buffers if one.data is not None))
    builder.Finish(content.Pack(builder), _MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _files(manifest: Manifest, sigmoid: Sigmoid | None) -> dict[str, str]:
    files = {LABELS: "".join(f"{label.name}\n" for label in manifest.labels)}
    if sigmoid:
        # No newline at the end: the official reader takes an empty line for one more class.
        files[SCORE_CALIBRATION] = "\n".join([f"1,{sigmoid.slope:.9g},{sigmoid.offset:.9g}"] * len(manifest.labels))
    return files


def _with_files(model: bytes, files: Mapping[str, str]) -> bytes:
    """Append the files as a ZIP, not compressed: the official readers map it into memory."""
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text.encode())
    return whole.getvalue()


def _model_metadata(manifest: Manifest, sigmoid: Sigmoid | None) -> bytes:
    """Build ModelMetadata, the schema's root."""
    builder = _Builder(4096)
    given, outputs = _tensors(manifest, sigmoid)
    graph = {
        2: builder.list([_tensor(builder, given, sigmoid)]),
        3: builder.list([_tensor(builder, one, sigmoid) for one in outputs]),
    }
    root = {
        0: builder.CreateString(manifest.name),
        1: builder.CreateString(_description(manifest)),
        2: builder.CreateString(manifest.created.isoformat()),
        3: builder.list([builder.table(graph)]),
        4: builder.CreateString(f"edge-inspect {manifest.code_version}"),
        7: builder.CreateString(_PARSER_VERSION),
    }
    builder.Finish(builder.table(root), _IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: _Builder, tensor: _Tensor, sigmoid: Sigmoid | None) -> int:
    """Build TensorMetadata."""
    properties = builder.table({}, {0: _RGB} if tensor.is_picture else None)
    fields = {
        0: builder.CreateString(tensor.name),
        1: builder.CreateString(tensor.description),
        2: builder.list([builder.CreateString(name) for name in tensor.dimensions]),
        3: builder.table({1: properties}, {0: _IMAGE if tensor.is_picture else _FEATURE}),
    }
    if tensor.is_picture:
        options = builder.table({0: builder.floats(_MEAN), 1: builder.floats(_STD)})
        fields[4] = builder.list([builder.table({1: options}, {0: _NORMALIZATION})])
        highest, lowest = builder.floats((255 - _MEAN) / _STD), builder.floats(-_MEAN / _STD)
        fields[5] = builder.table({0: highest, 1: lowest})
    if tensor.files:
        fields[6] = builder.list([_file(builder, *one) for one in tensor.files])
        if sigmoid:
            # All fields at their defaults: no transformation before the sigmoid, score 0 without parameters.
            fields[4] = builder.list([builder.table({1: builder.table({})}, {0: _CALIBRATION})])
    return builder.table(fields)


def _file(builder: _Builder, name: str, description: str, kind: int) -> int:
    """Build AssociatedFile."""
    return builder.table({0: builder.CreateString(name), 1: builder.CreateString(description)}, {2: kind})


def _tensors(manifest: Manifest, sigmoid: Sigmoid | None) -> tuple[_Tensor, tuple[_Tensor, ...]]:
    """Say what the input and the outputs, in the graph's order, are."""
    files = [(LABELS, "The classes, a line each, in the order of the logits.", _AXIS_LABELS)]
    if sigmoid:
        text = "A line for each class: scale, slope and offset of the sigmoid of its logit, the same for all."
        files.append((SCORE_CALIBRATION, text, _AXIS_SCORE_CALIBRATION))
    picture = _Tensor(
        name="image",
        description=f"RGB. Stored as int8 pixel - 128. A picture becomes the input by {manifest.preprocess.mode}.",
        dimensions=("batch", "height", "width", "channel"),
        is_picture=True,
    )
    embedding = _Tensor(name="embedding", description="The pooled features.", dimensions=("batch", "feature"))
    places = _Tensor(
        name="logit_map",
        description=f"The logits by place, whose mean the logits are; the last axis is in the order of {LABELS}.",
        dimensions=("batch", "row", "column", "class"),
    )
    logits = _Tensor(
        name="logits", description=_scores(manifest, sigmoid), dimensions=("batch", "class"), files=tuple(files)
    )
    return picture, (embedding, places, logits)


def _description(manifest: Manifest) -> str:
    meaning = "; ".join(f"{label.name}: {label.verdict}" for label in manifest.labels)
    rule = manifest.thresholds
    return (
        f"Visual inspection of parts, int8. Classes and what they mean: {meaning}. P(defect) is the sum of the DEFECT "
        f"classes' scores: DEFECT from {rule.defect_at:g}, PASS below {rule.pass_below:g}, UNKNOWN between them."
    )


def _scores(manifest: Manifest, sigmoid: Sigmoid | None) -> str:
    """Say how the bundle's scores come from the outputs, and what the calibration is instead."""
    text = f"Not scores: the bundle's scores are softmax(logits / {manifest.temperature:g}) over all classes"
    if not isinstance(manifest.pooling, Mean):
        text += f", of logits pooled from logit_map as {msgspec.json.encode(manifest.pooling).decode()}"
    if manifest.preprocess.tiles.count > 1:
        text += ", over all tiles of a region"
    if sigmoid:
        text += (
            ". The score calibration is another estimate, P(class) from that class's logit alone, fitted on pictures "
            "not trained on: it ranks the classes alike, its values are not the bundle's"
        )
    return f"{text}."
