from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest

from edge.errors import InspectError
from training import backend
from training.int8 import plan
from training.int8.equalize import equalize
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from training.int8.plan import Arrays, Node, Plan

SIDE = 64


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    backend.start(1)


def scramble(model: Any) -> Any:
    """Give every weight and statistic a value of its own, so that nothing folds away unseen."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = weight.numpy()
        weight.assign(value * rng.uniform(0.7, 1.3, value.shape) + rng.uniform(0, 0.1, value.shape))
    return model


MODELS = {
    "v1": Model(backbone="mobilenet-v1", alpha=0.25, height=SIDE, width=SIDE),
    "v2": Model(height=SIDE, width=SIDE),
    "v3": Model(backbone="mobilenet-v3-small", alpha=1.0, height=SIDE, width=SIDE),
    "both": Model(level="both", height=SIDE, width=SIDE),
}


def network(name: str) -> Any:
    """Return a whole network of each kind that a recipe can name, or the small one of these tests."""
    from training.network import model

    if name == "hostile":
        return scramble(hostile.build(SIDE, 3).whole)
    return scramble(model.build(3, Recipe(model=MODELS[name]), None).whole)


def run(steps: Plan, arrays: Arrays, pixels: Any) -> dict[str, Any]:
    """Compute a plan's nodes one after the other in float."""
    import tensorflow as tf

    after = {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}
    values: dict[str, Any] = {}
    for node in steps.nodes:
        weights = [arrays[f"{node.name}/{what}"] for what in ("kernel", "bias") if f"{node.name}/{what}" in arrays]
        given = [values[name] for name in node.inputs] or [pixels]
        values[node.name] = after[node.activation](compute(node, given, weights))
    return values


def compute(node: Node, given: list[Any], weights: list[Any]) -> Any:
    """Compute one node without its activation."""
    import tensorflow as tf

    if node.kind in ("conv", "depthwise"):
        convolve = tf.nn.conv2d if node.kind == "conv" else tf.nn.depthwise_conv2d
        return convolve(given[0], weights[0], [1, *node.strides, 1], node.padding.upper()) + weights[1]
    kinds = {
        "input": lambda: given[0],
        "pad": lambda: tf.pad(given[0], [(0, 0), *node.pads, (0, 0)]),
        "add": lambda: tf.add_n(given),
        "concat": lambda: tf.concat(given, -1),
        "mean": lambda: tf.reduce_mean(given[0], (1, 2)),
        "activation": lambda: given[0],
        "upsample": lambda: tf.repeat(tf.repeat(given[0], node.size[0], 1), node.size[1], 2),
    }
    return kinds[node.kind]()


def pictures() -> Any:
    """Return normalised noise."""
    return np.random.default_rng(2).uniform(-1, 1, (4, SIDE, SIDE, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "both", "hostile"])
def test_a_plan_computes_what_the_network_does(name: str) -> None:
    """For each backbone: batch normalisation is folded, ReLUs are fused, and all three outputs are the same."""
    model = network(name)
    steps, arrays = plan.trace(model)
    found, expected = run(steps, arrays, pictures()), model(pictures(), training=False)
    assert set(steps.outputs) == {"embedding", "logit_map", "logits"}
    for output, node in steps.outputs.items():
        assert np.allclose(found[node], expected[output], rtol=1e-3, atol=1e-3 * np.abs(expected[output]).max())
    assert not [node.name for node in steps.nodes if node.kind == "activation"]


@pytest.mark.parametrize("name", ["v2", "v3", "hostile"])
def test_equalizing_changes_no_output(name: str) -> None:
    """Channels are made larger and the weights that read them smaller: on the measured pictures all stays the same."""
    steps, arrays = plan.trace(network(name))
    before = run(steps, arrays, pictures())
    largest = {node: np.abs(value).max(axis=tuple(range(value.ndim - 1))) for node, value in arrays_of(before).items()}
    even = equalize(steps, arrays, largest)
    after = run(steps, even, pictures())
    assert any(not np.array_equal(even[key], arrays[key]) for key in arrays)
    for node in steps.outputs.values():
        assert np.allclose(after[node], before[node], rtol=1e-3, atol=1e-3 * np.abs(before[node]).max())


def arrays_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return tensors as arrays."""
    return {name: np.asarray(value) for name, value in values.items()}


def test_equalizing_gives_every_channel_the_range_of_the_widest() -> None:
    """Channels that were five thousand times smaller than another span as much as that one, ReLU6's top unpassed."""
    small = hostile.build(32, 3)
    scramble(small.whole)
    hostile.spoil(small)
    steps, arrays = plan.trace(small.whole)
    pixels = pictures()[:, :32, :32]

    def ranges(weights: Arrays) -> Any:
        found = run(steps, weights, pixels)
        return {node: np.abs(value).max(axis=tuple(range(value.ndim - 1))) for node, value in arrays_of(found).items()}

    before = ranges(arrays)
    after = ranges(equalize(steps, arrays, before))["first_expand"]
    awake = before["first_expand"] > 0
    assert np.median(before["first_expand"][awake]) < 1e-3 * before["first_expand"].max()
    assert np.allclose(after[awake], after.max(), rtol=1e-3)
    assert after.max() <= 6


def test_a_plan_survives_the_way_through_a_folder(tmp_path: Path) -> None:
    """What is written is what is read, in names, order and weights."""
    steps, arrays = plan.trace(network("hostile"))
    plan.write(tmp_path, steps, arrays)
    found, weights = plan.read(tmp_path)
    assert found == steps
    assert weights.keys() == arrays.keys()
    assert all(np.array_equal(weights[name], arrays[name]) for name in arrays)


def test_a_layer_without_a_counterpart_is_named() -> None:
    """A network of one's own with a layer that int8 cannot retrain ends in one line that names it."""
    import keras

    start = keras.Input((8, 8, 3))
    swish = keras.Model(start, keras.layers.Activation("swish", name="odd")(keras.layers.Conv2D(3, 1)(start)))
    with pytest.raises(InspectError, match=r"layer odd \(Activation\) cannot be retrained for int8; take one of"):
        plan.trace(swish)


def test_a_factor_on_what_others_read_is_not_folded() -> None:
    """Where a convolution's result is read twice, batch normalisation of one copy leaves the other alone."""
    import keras

    start = keras.Input((8, 8, 3))
    value = keras.layers.Conv2D(4, 3, padding="same")(start)
    both = keras.layers.Add()([value, keras.layers.ReLU()(keras.layers.BatchNormalization()(value))])
    model = scramble(keras.Model(start, {"logits": keras.layers.GlobalAveragePooling2D()(both)}))
    steps, arrays = plan.trace(model)
    pixels = pictures()[:, :8, :8]
    assert np.allclose(run(steps, arrays, pixels)[steps.outputs["logits"]], model(pixels)["logits"], atol=1e-5)
