from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training import backend
from training.recipe import Level, Model, Recipe

SHAPES: dict[Level, tuple[int, tuple[int, int]]] = {
    "stride-32": (1280, (2, 3)),
    "stride-16": (192, (4, 6)),
    "both": (1280 + 192, (4, 6)),
}


@pytest.fixture(scope="module")
def model() -> Any:
    """Import the module, TensorFlow with it."""
    backend.start(1)
    from training.network import model

    return model


def recipe(level: Level) -> Recipe:
    return Recipe(model=Model(height=64, width=96, level=level))


def set_classifier(head: Any, kernel: Any, bias: Any) -> None:
    """Set the linear map of the embedding: of two levels the finer one's features come first, with the bias."""
    first, *rest = sorted((layer for layer in head.layers if layer.weights), key=lambda layer: str(layer.name))
    depth = first.kernel.shape[2]
    first.set_weights([kernel[np.newaxis, np.newaxis, :depth], bias])
    for layer in rest:
        layer.set_weights([kernel[np.newaxis, np.newaxis, depth:]])


def pictures(count: int) -> Any:
    return np.random.default_rng(2).integers(0, 256, (count, 64, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize("level", SHAPES)
def test_the_head_is_the_usual_pooled_classifier_with_a_heat_map(model: Any, level: Level) -> None:
    """At every feature level logits are the map's mean and equally one linear map of the embedding."""
    network = model.build(3, recipe(level), None)
    depth, (height, width) = SHAPES[level]
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(depth, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    set_classifier(network.head, kernel, bias)
    found = network.whole(model.normalise(pictures(2)), training=False)
    out = {name: value.numpy() for name, value in found.items()}
    assert out["embedding"].shape == (2, depth)
    assert out["logit_map"].shape == (2, height, width, 3)
    assert np.allclose(out["logits"], out["logit_map"].mean(axis=(1, 2)), atol=1e-3)
    assert np.allclose(out["logits"], out["embedding"] @ kernel + bias, atol=1e-3)


@pytest.mark.parametrize("level", SHAPES)
def test_the_three_parts_make_the_whole(model: Any, level: Level) -> None:
    """head(tail(trunk(x))) is whole(x), so training a part trains the model."""
    network = model.build(2, recipe(level), None)
    network.head.set_weights([np.ones_like(w) for w in network.head.get_weights()])
    x = model.normalise(pictures(1))
    apart = network.head(network.tail(network.trunk(x, training=False), training=False), training=False)
    assert np.allclose(apart["logits"], network.whole(x, training=False)["logits"], atol=1e-5)


def test_pixels_are_normalised_as_int8_input_will_read_them(model: Any) -> None:
    """0, 128 and 255 become -1, 0 and 127/128, so that int8 input is the pixel minus 128."""
    assert model.normalise(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]
