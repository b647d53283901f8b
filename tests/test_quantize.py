from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_parts import make_folder, read_folder

from edge.errors import BundleError
from edge.runtime import open_interpreter
from edge.sections.runtime import Runtime
from training import backend
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from training.data.dataset import Dataset

DEPTH = 128
"""Of the network's features."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to calibrate with."""
    backend.start(1)
    return read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=8))


@pytest.fixture(scope="module")
def network(data: Dataset) -> Any:
    """An untrained network of two places by two that tells pictures and classes apart.

    Its batch normalisation knows the pictures: as it begins, the activations fade and all pictures give the same
    logits. Deeper networks of random weights magnify any rounding beyond what a trained one does.
    """
    from training.network import model

    recipe = Recipe(model=Model(backbone="residual", alpha=0.25, height=64, width=64))
    made = model.build(len(data.labels), recipe, None)
    for norm in model.batch_norms(made):
        norm.momentum = 0.0
    made.whole(model.normalise(big(data).pixels), training=True)
    made.head.set_weights(head_weights())
    return made


def head_weights() -> list[Any]:
    """Return the network's kernel and bias."""
    rng = np.random.default_rng(1)
    return [(rng.normal(size=shape) / 20).astype(np.float32) for shape in ((1, 1, DEPTH, 3), (3,))]


@pytest.fixture(scope="module")
def tflite(network: Any, data: Dataset) -> bytes:
    """The network, quantized."""
    from training.int8 import quantize

    return quantize.quantize(network, big(data), seed=1)


def big(data: Dataset) -> Dataset:
    """Return the same pictures at 64 pixels."""
    from dataclasses import replace

    return replace(data, pixels=data.pixels.repeat(2, axis=1).repeat(2, axis=2))


def test_the_device_finds_pixels_minus_128_and_the_three_outputs_in_order(tflite: bytes) -> None:
    """Input is int8 (1/128, 0); outputs are int8 embedding, logit map and logits, as edge.classifier sorts them."""
    interpreter = open_interpreter(tflite, Runtime()).interpreter
    (given,) = interpreter.get_input_details()
    assert given["quantization"] == (1 / 128, 0)
    assert given["dtype"] == np.int8
    outputs = interpreter.get_output_details()
    assert [tuple(out["shape"]) for out in outputs] == [(1, DEPTH), (1, 2, 2, 3), (1, 3)]
    assert all(out["dtype"] == np.int8 for out in outputs)


def test_int8_logits_follow_the_float_ones(tflite: bytes, network: Any, data: Dataset) -> None:
    """From picture to picture each class's logits go with the float ones, by a tenth of their 256 steps at most off."""
    from training.network import model, pooled

    pixels = big(data).pixels
    expected = pooled.inference(network.whole, 8)(model.normalise(pixels))
    interpreter = open_interpreter(tflite, Runtime()).interpreter
    out = interpreter.get_output_details()[-1]
    scale, zero = out["quantization"]
    found = []
    for picture in pixels:
        interpreter.set_tensor(0, (picture ^ np.uint8(0x80)).view(np.int8)[np.newaxis])
        interpreter.invoke()
        found.append(scale * (interpreter.get_tensor(out["index"])[0].astype(np.float32) - zero))
    assert np.abs(np.array(found) - expected).max() <= 25.6 * scale
    for after, before in zip(np.transpose(found), expected.T, strict=True):
        assert np.ptp(before) > 75 * scale
        assert np.corrcoef(after, before)[0, 1] > 0.95


@pytest.mark.usefixtures("tflite")
def test_the_float_network_stays_as_it_was(network: Any) -> None:
    """Converting changes nothing of what was trained."""
    assert all(np.array_equal(a, b) for a, b in zip(network.head.get_weights(), head_weights(), strict=True))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_outside_the_contract_is_refused(data: Dataset) -> None:
    """An input range that was not pinned never becomes a bundle."""
    from training.int8 import flatbuffer, quantize

    tiny = Recipe(model=Model(height=32, width=32))
    from training.network import model

    dim = np.maximum(data.pixels, np.uint8(60))
    with pytest.raises(BundleError, match=r"is quantized as .*, not \(1/128, 0\); calibrate with pictures"):
        flatbuffer.check(quantize.convert(model.build(3, tiny, None), dim))


def test_tiles_are_cut_from_every_canvas_and_a_lone_one_is_no_copy(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each canvas gives one of its tiles, every corner as often as any other; large sets lie in a file."""
    from edge.contract.preprocess import Tiles
    from training import scratch
    from training.int8 import quantize

    tiles = Tiles(rows=2, columns=2)
    height, width = tiles.canvas(64, 64)
    canvases = np.random.default_rng(1).integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    assert quantize.one_tile_each(canvases, network, Tiles(), 1) is canvases
    for most in (scratch.MOST_IN_MEMORY, 10):
        monkeypatch.setattr(scratch, "MOST_IN_MEMORY", most)
        found = quantize.one_tile_each(canvases, network, tiles, 1)
        cut = [tiles.cut(canvas, 64, 64) for canvas in canvases]
        places = [
            [np.array_equal(one, tile) for tile in each].index(True) for one, each in zip(found, cut, strict=True)
        ]
        assert sorted(places) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert isinstance(found.base, mmap.mmap) == (most == 10)
