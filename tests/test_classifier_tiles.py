"""The classifier runs the tiles and the pooling that a bundle declares, as a plain loop would."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec
import numpy as np
import pytest
from bundle_samples import MANIFEST
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import patch_model

from edge import runtime
from edge.classifier import Classifier, softmax, stitch
from edge.contract.bundle import MODEL, Bundle, Manifest
from edge.contract.pooling import LogSumExp, Mean, Pooling, TopK
from edge.contract.preprocess import PreprocessSpec, Region, ResizeMode, Tiles, preprocess
from edge.errors import BundleError
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from edge.classifier import Floats
    from edge.contract.preprocess import Pixels
    from edge.runtime import Interpreter

MODELS = {
    "square": (64, 64, 32, "INT8"),
    "wide, stride 32": (64, 160, 32, "INT8"),
    "high, stride 16": (160, 96, 16, "INT8"),
    "wide, stride 8, uint8": (32, 96, 8, "UINT8"),
}
"""Height, width, pixels a cell, and type of input."""


class Ready:
    """One model as a bundle, and the same model bare."""

    def __init__(self, folder: Path, height: int, width: int, cell: int, kind: str) -> None:
        self.size, self.cell, self.kind = (height, width), cell, kind
        self.model = patch_model(height, width, cell, kind=kind)
        self._bare = open_bare(self.model)
        self._folder = folder

    def classifier(self, **manifest: Any) -> Classifier:
        """Load it with these fields of the manifest changed."""
        return Classifier(bundle_of(self.model, **manifest), state_dir=self._folder)

    def run(self, tile: Pixels) -> list[Floats]:
        """Embedding, logit map and logits of one tile."""
        return run(self._bare, tile)

    def canvas_map(self, canvas: Pixels) -> Floats:
        """The logit map of a canvas in one run, by the same convolution with an input of that size."""
        height, width, _ = canvas.shape
        return run(open_bare(patch_model(height, width, self.cell, kind=self.kind)), canvas)[1]


def open_bare(model: bytes) -> Interpreter:
    return runtime.open_interpreter(model, Runtime()).interpreter


def run(bare: Interpreter, pixels: Pixels) -> list[Floats]:
    """Every output by the shortest program: set, invoke, get, dequantize."""
    (taken,) = bare.get_input_details()
    stored = pixels if taken["dtype"] == np.uint8 else (pixels.astype(np.int16) - 128).astype(np.int8)
    bare.set_tensor(taken["index"], np.ascontiguousarray(stored)[np.newaxis])
    bare.invoke()
    found = []
    for details in bare.get_output_details():
        scale, zero_point = details["quantization"]
        found.append(np.float32(scale) * (bare.get_tensor(details["index"])[0].astype(np.float32) - zero_point))
    return found


def bundle_of(model: bytes, **manifest: Any) -> Bundle:
    digest = hashlib.sha256(model).hexdigest()
    changed: Manifest = msgspec.structs.replace(MANIFEST, files={MODEL: digest}, **manifest)
    return Bundle(None, changed, "", {MODEL: model})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ready]:
    """Every model, probed once."""
    folder = tmp_path_factory.mktemp("state")
    return {name: Ready(folder, *shape) for name, shape in MODELS.items()}


def pooled_by_hand(logits: Floats, pooling: Pooling) -> list[float]:
    """Pool [places, n] one class after the other, in double precision."""
    result = []
    for column in logits.astype(float).T:
        values = sorted(column.tolist(), reverse=True)
        match pooling:
            case Mean():
                result.append(sum(values) / len(values))
            case TopK(share=share):
                count = max(1, round(share * len(values)))
                result.append(sum(values[:count]) / count)
            case LogSumExp(sharpness=sharpness):
                result.append(float(np.log(np.mean(np.exp(sharpness * column)))) / sharpness)
    return result


class Case(NamedTuple):
    """A model and a bundle around it, a frame and how to look at it."""

    model: str
    spec: PreprocessSpec
    pooling: Pooling
    frame: Pixels
    view: dict[str, Any]


TILES = st.builds(
    Tiles, rows=st.integers(1, 3), columns=st.integers(1, 3), overlap=st.integers(0, 50).map(lambda n: n / 100)
)
CASES = st.builds(
    Case,
    model=st.sampled_from(list(MODELS)),
    spec=st.builds(PreprocessSpec, mode=st.sampled_from(get_args(ResizeMode)), tiles=TILES),
    pooling=st.just(Mean())
    | st.builds(TopK, share=st.floats(0.01, 1))
    | st.builds(LogSumExp, sharpness=st.floats(0.1, 10)),
    frame=st.builds(
        lambda seed, *shape: np.random.default_rng(seed).integers(0, 256, [*shape[:2], *shape[2]], np.uint8),
        *(st.integers(0, 99), st.integers(1, 300), st.integers(1, 300), st.sampled_from([(), (1,), (3,), (3,)])),
    ),
    view=st.fixed_dictionaries(
        {
            "order": st.sampled_from(["RGB", "BGR"]),
            "region": st.sampled_from([Region(), Region(0.25, 0.1, 0.5, 0.6), Region(0, 0.5, 0.1, 0.5)]),
            "rotate": st.sampled_from([0, 90, 180, 270]),
        }
    ),
)


@settings(max_examples=100)
@given(case=CASES)
def test_tiles_and_pooling_are_those_of_a_plain_loop(models: dict[str, Ready], case: Case) -> None:
    """Any bundle and frame give what a loop gives over slices of the frame preprocessed to the canvas' size."""
    ready, tiles, pooling = models[case.model], case.spec.tiles, case.pooling
    height, width = ready.size
    corners = tiles.corners(height, width)
    whole_height, whole_width = corners[-1][0] + height, corners[-1][1] + width
    one_tile = PreprocessSpec(mode=case.spec.mode)
    canvas = preprocess(case.frame, one_tile, height=whole_height, width=whole_width, **case.view)
    runs = [ready.run(canvas[top : top + height, left : left + width]) for top, left in corners]
    if isinstance(pooling, Mean):
        logits = pooled_by_hand(np.stack([run[2] for run in runs]), pooling)
    else:
        logits = pooled_by_hand(np.concatenate([run[1].reshape(-1, 2) for run in runs]), pooling)

    classifier = ready.classifier(preprocess=case.spec, pooling=pooling, temperature=2.0)
    found = classifier.classify(case.frame, **case.view)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, softmax(np.array(logits) / 2), atol=1e-4)
    assert found.logits.dtype == found.scores.dtype == np.float32
    assert found.logits.shape == found.scores.shape == (2,)
    np.testing.assert_allclose(classifier.embedding(), np.mean([run[0] for run in runs], axis=0), atol=1e-6)
    # Each cell of this model sees its own pixels alone: tiles are no different from one run over the canvas.
    places = classifier.logit_map()
    assert places is not None
    assert places.dtype == np.float32
    assert places.shape == (whole_height // ready.cell, whole_width // ready.cell, 2)
    np.testing.assert_allclose(places, ready.canvas_map(canvas), rtol=1e-6)


@settings(max_examples=60)
@given(case=CASES)
def test_a_canvas_is_taken_as_it_is(models: dict[str, Ready], case: Case) -> None:
    """A canvas that training kept is not resized again, in any mode: it gives to the bit what the frame gives."""
    classifier = models[case.model].classifier(preprocess=case.spec, pooling=case.pooling)
    height, width = classifier.canvas_size
    canvas = preprocess(case.frame, case.spec, height=height, width=width, **case.view)
    np.testing.assert_array_equal(preprocess(canvas, case.spec, height=height, width=width), canvas)
    expected, places = classifier.classify(case.frame, **case.view), classifier.logit_map()
    found = classifier.classify(canvas)
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(classifier.logit_map(), places)


def test_one_tile_and_the_mean_are_the_graphs_own_outputs(models: dict[str, Ready]) -> None:
    """A bundle that declares neither gives the graph's logits, map and embedding to the bit."""
    ready = models["wide, stride 32"]
    classifier = ready.classifier()
    canvas = np.random.default_rng(3).integers(0, 256, (*ready.size, 3), np.uint8)
    found = classifier.classify(canvas)
    given_back = (classifier.embedding(), classifier.logit_map(), found.logits)
    for value, expected in zip(given_back, ready.run(canvas), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert classifier.canvas_size == classifier.input_size == ready.size


def test_there_is_no_map_before_the_first_frame(models: dict[str, Ready]) -> None:
    """A classifier that has seen nothing has no heat map and no embedding to show."""
    classifier = models["square"].classifier()
    assert classifier.logit_map() is None
    assert classifier.embedding() is None


def test_a_failed_frame_leaves_the_last_ones_map(models: dict[str, Ready]) -> None:
    """A frame that cannot be judged does not change what the last good one left."""
    classifier = models["square"].classifier(preprocess=PreprocessSpec(tiles=Tiles(rows=2)))
    classifier.classify(np.full((5, 5), 200, np.uint8))
    before = classifier.logit_map()
    with pytest.raises(ValueError, match="a frame must be"):
        classifier.classify(np.zeros((5, 5, 4), np.uint8))
    np.testing.assert_array_equal(classifier.logit_map(), before)


def test_where_maps_overlap_the_higher_value_counts() -> None:
    """Each class of each cell is the highest that any tile over it says, below zero too."""
    maps = np.array([[[[-1, -9]], [[-2, 5]]], [[[-3, -4]], [[7, 0]]]], np.float32)  # Two tiles of 2x1 cells.
    found = stitch(maps, [(0, 0), (1, 0)])
    np.testing.assert_array_equal(found[:, 0], [[-1, -9], [-2, 5], [7, 0]])


TWO = PreprocessSpec(tiles=Tiles(columns=2))


@pytest.mark.parametrize(
    ("outputs", "manifest", "reason"),
    [
        (1, {"pooling": TopK()}, "the model has no logit map for pooling 'top-k'; set pooling mean, or rebuild"),
        (1, {"pooling": LogSumExp(), "preprocess": TWO}, "no logit map for pooling 'log-sum-exp'"),
        (3, {"preprocess": PreprocessSpec(tiles=Tiles(rows=8, overlap=0))}, "make 64x4352, more than 4096 a side"),
    ],
)
def test_what_a_model_cannot_do_is_refused(outputs: int, manifest: dict[str, Any], reason: str) -> None:
    """A pooling without a map, and a canvas that no device holds, are a BundleError with the remedy."""
    with pytest.raises(BundleError, match=reason):
        Classifier(bundle_of(patch_model(544, 64, 32, outputs=outputs), **manifest))


GRID = Tiles(rows=2, columns=2, overlap=0.1)


@pytest.mark.parametrize(
    ("size", "cell", "tiles", "reason"),
    [
        (150, 50, GRID, "tiles of 150 pixels cannot share a grid of 32; set one tile along that side"),
        (192, 64, GRID, "a logit map of 3x3 cells for 192x192 pixels does not fit the tiles' steps; set one tile"),
        (512, 1, Tiles(rows=8, columns=8, overlap=0), "64 tiles with 512x512 places and 2 labels are too many logits"),
    ],
)
def test_tiles_that_do_not_meet_on_a_grid_are_refused(size: int, cell: int, tiles: Tiles, reason: str) -> None:
    """A model whose cells do not divide the tiles' steps, or whose maps fill a device's memory, takes one tile."""
    model = patch_model(size, size, cell)
    assert Classifier(bundle_of(model)).classify(np.zeros((9, 9), np.uint8)).scores.shape == (2,)
    with pytest.raises(BundleError, match=reason):
        Classifier(bundle_of(model, preprocess=PreprocessSpec(tiles=tiles)))


def test_tiles_of_a_model_without_a_map_are_averaged(models: dict[str, Ready], tmp_path: Path) -> None:
    """A model that gives logits alone can be tiled: the mean of the tiles' logits, no heat map."""
    lone = Classifier(bundle_of(patch_model(64, 64, 32, outputs=1), preprocess=TWO), state_dir=tmp_path)
    frame = np.random.default_rng(5).integers(0, 256, (70, 120, 3), np.uint8)
    expected = models["square"].classifier(preprocess=TWO).classify(frame).logits
    np.testing.assert_array_equal(lone.classify(frame).logits, expected)
    assert lone.logit_map() is None
    assert lone.embedding() is None


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("manifest", [{"pooling": TopK()}, {"preprocess": TWO}])
def test_a_softmax_is_not_pooled(outputs: int, manifest: dict[str, Any]) -> None:
    """A model that ends in a softmax takes one tile and the mean, with a map beside it or not; the error names both."""
    model = patch_model(64, 64, 32, outputs=outputs, softmax=True)
    assert Classifier(bundle_of(model)).classify(np.zeros((9, 9), np.uint8)).scores.sum() == pytest.approx(1, abs=0.01)
    with pytest.raises(BundleError, match="ends in a softmax, whose scores cannot be pooled; set one tile and pooling"):
        Classifier(bundle_of(model, **manifest))
