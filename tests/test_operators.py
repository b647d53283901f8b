from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edited_models import edit, findings, operators, rename, set_tensor, tensor
from tiny_parts import make_folder, read_folder

from edge.errors import BundleError
from training import backend
from training.int8 import flatbuffer
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.data.dataset import Dataset


def set_options(kind: str, **values: Any) -> Callable[[Any], None]:
    """Return a change of the first such operator's options."""

    def change(tree: Any) -> None:
        for name, value in values.items():
            setattr(operators(tree, kind)[0].builtinOptions, name, value)

    return change


def mean_over(*axes: int) -> Callable[[Any], None]:
    """Return a change of the axes that the means run over."""

    def change(tree: Any) -> None:
        tree.buffers[tensor(tree, 1).buffer].data = np.frombuffer(struct.pack("<2i", *axes), np.uint8)

    return change


EDGE_TPU = {
    "hard swish": (
        lambda tree: rename(tree, "ADD", "HARD_SWISH"),
        "HARD_SWISH is not an operator of the Edge TPU; take MobileNetV3 in its minimalistic form",
    ),
    "version": (
        lambda tree: rename(tree, "CONV_2D", "CONV_2D", 6),
        "CONV_2D has version 6; the Edge TPU compiler 16 knows 5; convert with an older TensorFlow",
    ),
    "dilation": (set_options("DEPTHWISE_CONV_2D", dilationHFactor=2), "is dilated by 2 x 1"),
    "channels": (mean_over(1, 3), "reduces 5 channels, which is no multiple of 4"),
    "batch": (mean_over(0, 1), "reduces the batch"),
    "rank": (set_tensor(110, shape=[1, 2, 32, 64, 8]), "has the shape [1, 2, 32, 64, 8]; only the three innermost"),
    "depth": (set_tensor(110, shape=[2, 32, 64, 8]), "has the shape [2, 32, 64, 8]; only the three innermost"),
}


@pytest.mark.parametrize(("change", "message"), EDGE_TPU.values(), ids=EDGE_TPU)
def test_what_the_edge_tpu_leaves_out_is_found_but_no_error(change: Callable[[Any], None], message: str) -> None:
    """A model that only the Edge TPU minds is named as such, and refused only if it is to run there."""
    model = edit(change)
    assert message in findings(model, "edge-tpu")
    assert findings(model, "error") == ""
    flatbuffer.check(model)
    with pytest.raises(BundleError, match="not fit for the device: "):
        flatbuffer.check(model, edge_tpu=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to calibrate with."""
    backend.start(1)
    return read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=2))


@pytest.mark.parametrize(
    ("model", "operators"),
    [
        (Model(backbone="mobilenet-v1", alpha=0.25, height=64, width=64), {"MEAN"}),
        (Model(height=32, width=32), {"RESHAPE"}),
        (Model(backbone="mobilenet-v3-small", alpha=1.0, height=64, width=64), {"MEAN"}),
        (Model(level="both", height=64, width=64), {"RESIZE_NEAREST_NEIGHBOR", "ADD", "CONCATENATION"}),
        (Model(backbone="residual", height=64, width=64), {"ADD"}),
    ],
)
def test_every_network_of_the_training_line_is_sound(model: Model, operators: set[str], data: Dataset) -> None:
    """Each backbone and level converts to a file without findings, for the Edge TPU too."""
    import tflite

    from training.int8 import quantize
    from training.network import model as networks

    network = networks.build(3, Recipe(model=model), None)
    scale = model.height // data.pixels.shape[1]
    pixels = quantize.pin_range(data.pixels.repeat(scale, axis=1).repeat(scale, axis=2))
    converted = quantize.convert(network, pixels)
    assert flatbuffer.inspect(converted) == []
    content = tflite.Model.GetRootAs(converted, 0)
    codes = {tflite.opcode2name(content.OperatorCodes(i).BuiltinCode()) for i in range(content.OperatorCodesLength())}
    assert operators <= codes


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_layers_that_int8_devices_mind_are_found(data: Dataset) -> None:
    """A dense layer, a hard swish, an enlargement with half-pixel centres and scores, as Keras converts them."""
    import keras

    from training.int8 import quantize
    from training.network.model import Network

    start = keras.Input((32, 32, 3))
    value = keras.layers.Activation("hard_swish")(keras.layers.Conv2D(4, 3, strides=2, padding="same")(start))
    value = keras.layers.UpSampling2D(2, interpolation="bilinear")(value)
    pooled = keras.layers.GlobalAveragePooling2D()(value)
    scores = keras.layers.Softmax()(keras.layers.Dense(3)(pooled))
    whole = keras.Model(start, {"embedding": pooled, "logits": scores})
    model = quantize.convert(Network(None, None, None, whole), quantize.pin_range(data.pixels))
    errors, minded = findings(model, "error"), findings(model, "edge-tpu")
    assert "dense layer quantized by channel, which runtimes before 2.10 compute wrongly" in errors
    assert "take a 1x1 convolution and a global average" in errors
    assert "gives scores, not logits" in errors
    assert "the outputs: are [1, 4], [1, 3], not" in errors
    assert "MobileNetV3 in its minimalistic form" in minded
    assert "(RESIZE_BILINEAR, " in minded
    assert "has half-pixel centres" in minded
