"""TFLite Metadata, read by the schema.

The official tools need protobuf 3 and so cannot lie beside TensorFlow: `benchmarks/other_tools.py` runs them.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import DEMO_BUNDLE
from flatbuffers import number_types
from flatbuffers.table import Table
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.contract import bundle as bundles
from edge.contract.pooling import TopK
from edge.contract.preprocess import PreprocessSpec, Tiles
from edge.errors import BundleError
from edge.runtime import open_interpreter
from edge.sections.runtime import Runtime
from edge.synthetic import render
from training.int8 import metadata, sigmoid
from training.int8.sigmoid import Sigmoid

BUNDLE = bundles.read(DEMO_BUNDLE)
SIGMOID = Sigmoid(slope=1.25, offset=-2.5)
DESCRIBED = metadata.add(BUNDLE.model, BUNDLE.manifest, sigmoid=SIGMOID)


def root(model: bytes) -> Table:
    """The metadata's root table, found as the schema says."""
    content = schema.Model.GetRootAsModel(model, 0)
    (place,) = [
        content.Metadata(i).Buffer()
        for i in range(content.MetadataLength())
        if content.Metadata(i).Name() == b"TFLITE_METADATA"
    ]
    data = content.Buffers(place).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    return Table(data, int.from_bytes(data[:4], "little"))


def text(table: Table, field: int) -> str:
    """A string field."""
    return table.String(table.Pos + table.Offset(4 + 2 * field)).decode()


def child(table: Table, field: int) -> Table:
    """A field that is a table."""
    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(4 + 2 * field)))


def children(table: Table, field: int) -> list[Table]:
    """A field that is a vector of tables; empty if it is not there."""
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return []
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]


def floats(table: Table, field: int) -> list[float]:
    """A field that is a vector of float32."""
    return list(table.GetVectorAsNumpy(number_types.Float32Flags, table.Offset(4 + 2 * field)))


def enum(table: Table, field: int) -> int:
    """A field of one byte; 0 if it is not there."""
    return int(table.GetSlot(4 + 2 * field, 0, number_types.Int8Flags))


def outputs(model: bytes, pixels: Any) -> list[Any]:
    """What LiteRT computes for one picture."""
    interpreter = open_interpreter(model, Runtime()).interpreter
    (given_,) = interpreter.get_input_details()
    assert given_["quantization"] == (1 / 128, 0)
    interpreter.set_tensor(given_["index"], (pixels ^ np.uint8(0x80)).view(np.int8)[np.newaxis])
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def test_the_graph_computes_what_it_did() -> None:
    """With metadata and files behind it, the model gives the same three outputs to the bit."""
    for index in range(3):
        pixels = render(4, index, height=128, width=128).pixels
        for before, after in zip(outputs(BUNDLE.model, pixels), outputs(DESCRIBED, pixels), strict=True):
            np.testing.assert_array_equal(before, after)


def test_the_input_is_described_as_the_graph_takes_it() -> None:
    """One RGB picture, normalised as (pixel - 128) / 128 before the tensor's own quantization."""
    (graph,) = children(root(DESCRIBED), 3)
    (picture,) = children(graph, 2)
    assert text(picture, 0) == "image"
    content = child(picture, 3)
    assert (enum(content, 0), enum(child(content, 1), 0)) == (2, 1)
    (unit,) = children(picture, 4)
    assert enum(unit, 0) == 1
    assert (floats(child(unit, 1), 0), floats(child(unit, 1), 1)) == ([128], [128])
    assert (floats(child(picture, 5), 1), floats(child(picture, 5), 0)) == ([-1], [127 / 128])


def test_the_outputs_are_named_in_the_graphs_order_and_only_the_logits_have_labels() -> None:
    """Embedding, logit map and logits; labels and calibration belong to the last."""
    (graph,) = children(root(DESCRIBED), 3)
    tensors = children(graph, 3)
    assert [text(tensor, 0) for tensor in tensors] == ["embedding", "logit_map", "logits"]
    found = [[(text(file, 0), enum(file, 2)) for file in children(tensor, 6)] for tensor in tensors]
    assert found == [[], [], [("labels.txt", 2), ("score_calibration.txt", 4)]]
    assert [enum(unit, 0) for unit in children(tensors[2], 4)] == [2]


def test_the_files_lie_behind_the_model_in_a_zip() -> None:
    """The classes stand in the logits' order, and each has its line of scale, slope and offset; none is empty."""
    with zipfile.ZipFile(io.BytesIO(DESCRIBED)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
    names = [label.name for label in BUNDLE.manifest.labels]
    assert files["labels.txt"].splitlines() == names
    assert files["score_calibration.txt"].split("\n") == ["1,1.25,-2.5"] * len(names)


def test_nothing_false_is_said_of_the_scores() -> None:
    """Without a sigmoid none is claimed; the softmax, its temperature, pooling and tiles stand in words."""
    changed = msgspec.structs.replace(
        BUNDLE.manifest, temperature=1.5, pooling=TopK(), preprocess=PreprocessSpec(tiles=Tiles(rows=2))
    )
    model = metadata.add(BUNDLE.model, changed)
    (graph,) = children(root(model), 3)
    logits = children(graph, 3)[2]
    assert children(logits, 4) == []
    for word in ("softmax(logits / 1.5)", "top-k", "tiles"):
        assert word in text(logits, 1)
    assert "calibration" not in text(logits, 1)
    assert "crack: DEFECT" in text(root(model), 1)
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert archive.namelist() == ["labels.txt"]


def test_new_metadata_replaces_the_old() -> None:
    """Adding again gives the same bytes, and other facts leave nothing of the former ones."""
    assert metadata.add(DESCRIBED, BUNDLE.manifest, sigmoid=SIGMOID) == DESCRIBED
    renamed = msgspec.structs.replace(BUNDLE.manifest, name="renamed")
    again = metadata.add(DESCRIBED, renamed)
    assert text(root(again), 0) == "renamed"
    assert again == metadata.add(BUNDLE.model, renamed)


def test_every_buffer_is_aligned_as_the_schema_asks() -> None:
    """Weights start at multiples of 16 bytes, for runtimes that use them where they lie."""
    content = schema.Model.GetRootAsModel(DESCRIBED, 0)
    tables = [content.Buffers(i)._tab for i in range(content.BuffersLength())]
    assert {table.Vector(offset) % 16 for table in tables if (offset := table.Offset(4))} == {0}


def test_a_model_of_other_labels_is_refused() -> None:
    """Labels that the logits do not have would name the wrong class."""
    fewer = msgspec.structs.replace(BUNDLE.manifest, labels=BUNDLE.manifest.labels[:2])
    with pytest.raises(BundleError, match="logits of 2 labels"):
        metadata.add(BUNDLE.model, fewer)


def structure() -> list[int]:
    """Where the model's bytes are something other than weights."""
    content = schema.Model.GetRootAsModel(BUNDLE.model, 0)
    inside = np.ones(len(BUNDLE.model), bool)
    for table in (content.Buffers(i)._tab for i in range(content.BuffersLength())):
        if offset := table.Offset(4):
            start = table.Vector(offset)
            inside[start : start + table.VectorLen(offset)] = False
    return [int(place) for place in np.flatnonzero(inside)]


OUTPUT_NAME = BUNDLE.model.index(b"Identity_2")


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(structure()), st.integers(0, 255)), min_size=1, max_size=5))
@example([(OUTPUT_NAME, 0xBC)])
def test_a_damaged_model_ends_in_a_model_or_a_bundle_error(changes: list[tuple[int, int]]) -> None:
    """Whatever stands in the model's tables, metadata is added or BundleError says why not, in one line."""
    damaged = bytearray(BUNDLE.model)
    for place, value in changes:
        damaged[place] = value
    said = ""
    try:
        metadata.add(bytes(damaged), BUNDLE.manifest)
    except BundleError as error:
        said = str(error)
    assert "\n" not in said


@given(st.binary(max_size=60))
@example(BUNDLE.model[:100_000])
def test_bytes_that_are_no_model_are_a_bundle_error(data: bytes) -> None:
    """A stranger's bytes, or half a model, are refused."""
    with pytest.raises(BundleError, match="no sound TFLite model"):
        metadata.add(data, BUNDLE.manifest)


def test_the_sigmoid_finds_what_the_truth_was_drawn_from() -> None:
    """On classes drawn one by one from a known sigmoid, slope and offset come back."""
    rng = np.random.default_rng(3)
    first = rng.normal(0, 3, 20_000).astype(np.float32)
    chance = 1 / (1 + np.exp(-(0.8 * first)))
    truth = np.where(rng.random(len(first)) < chance, 0, 1)
    found = sigmoid.fit(np.stack([first, -first], axis=1), truth)
    assert found.slope == pytest.approx(0.8, rel=0.05)
    assert found.offset == pytest.approx(0, abs=0.03)


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 99), st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
def test_the_sigmoid_is_finite_and_keeps_the_order(classes: int, pictures: int, seed: int, scale: float) -> None:
    """Separable, constant, upside-down and huge logits too give a finite sigmoid that does not fall."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, pictures)
    logits = (scale * np.eye(classes)[truth] * rng.choice([-1, 1])).astype(np.float32)
    found = sigmoid.fit(logits, truth)
    assert np.isfinite([found.slope, found.offset]).all()
    assert found.slope >= 0
