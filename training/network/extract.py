"""Runs the frozen part of the network: on a GPU through TensorFlow, else through the device's own runtime.

On two cores LiteRT computes MobileNetV2 0.35 at 224 pixels five times as fast as TensorFlow does.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
import PIL
import tensorflow as tf
from msgspec.structs import replace

import edge
from edge.contract.pooling import Mean
from edge.runtime import open_interpreter, version
from edge.sections.runtime import Runtime
from training import backend
from training.network.model import Floats, normalise

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.network.model import Network
    from training.recipe import Recipe

Half: TypeAlias = "npt.NDArray[np.float16]"


class Extractor:
    """The frozen features of one picture: where the tuned blocks begin, and what the head reads.

    `shapes` are those of its results: [tiles, h, w, c] of the cut, then of each map that the head reads; under
    mean pooling the maps are averaged, h and w are 1. Thread-safe.
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        self._recipe = recipe
        self._model = _chain(network, mean=isinstance(recipe.pooling, Mean))
        self.shapes = [(recipe.preprocess.tiles.count, *output.shape[1:]) for output in self._model.outputs]
        self._gpu = bool(tf.config.list_physical_devices("GPU"))
        self._run = tf.function(self._model, reduce_retracing=True)
        self._flatbuffer = b"" if self._gpu else _convert(self._model)
        self._own = threading.local()
        if not self._gpu:
            with backend.quiet():  # The first one that is opened tells of itself.
                open_interpreter(self._flatbuffer, Runtime())

    @property
    def size(self) -> int:
        """How many values there are for one picture."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def identity(self) -> str:
        """SHA-256 of everything that the features depend on besides the picture and its augmentation."""
        # Pillow resizes the pictures, before and while they are varied.
        code = (edge.__version__, PIL.__version__, tf.__version__, keras.__version__, version("litert"), self._gpu)
        recipe = (replace(self._recipe.model, dropout=0), self._recipe.preprocess, self.shapes)  # The head drops out.
        digest = hashlib.sha256(repr((code, recipe)).encode())
        for weight in self._model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def extract(self, canvas: Pixels) -> Half:
        """Return the features of a canvas uint8 [H, W, 3], all values in a row: float16 [size]."""
        model, tiles = self._recipe.model, self._recipe.preprocess.tiles
        pixels = normalise(tiles.cut(canvas, model.height, model.width))
        found = self._on_gpu(pixels) if self._gpu else self._on_cpu(pixels)
        return np.concatenate([each.ravel() for each in found]).astype(np.float16)

    def divide(self, rows: Half) -> list[Half]:
        """Give features [..., size] their shapes back: one array [..., tiles, h, w, c] for each of `shapes`."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        parts = np.split(rows, ends, axis=-1)
        return [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _on_gpu(self, pixels: Floats) -> list[Floats]:
        return [output.numpy() for output in self._run(pixels)]

    def _on_cpu(self, pixels: Floats) -> list[Floats]:
        if not hasattr(self._own, "interpreter"):
            self._own.interpreter = open_interpreter(self._flatbuffer, Runtime()).interpreter
        interpreter = self._own.interpreter
        given, wanted = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()
        found: list[list[Any]] = [[] for _ in wanted]
        for tile in pixels:
            interpreter.set_tensor(given, tile[np.newaxis])
            interpreter.invoke()
            for values, output in zip(found, wanted, strict=True):
                values.append(interpreter.get_tensor(output["index"])[0])
        return [np.stack(values) for values in found]


def workers() -> int:
    """Return how many threads extract at the same time: one keeps a GPU busy."""
    return 1 if tf.config.list_physical_devices("GPU") else os.cpu_count() or 1


def _chain(network: Network, *, mean: bool) -> Any:
    start = keras.Input(network.trunk.input.shape[1:])
    cut = network.trunk(start)
    read = network.tail(cut)
    maps = read if isinstance(read, list) else [read]
    if mean:
        maps = [keras.layers.GlobalAveragePooling2D(keepdims=True)(given) for given in maps]
    return keras.Model(start, [cut, *maps])


def _convert(model: Any) -> bytes:
    spec = tf.TensorSpec([1, *model.input.shape[1:]], tf.float32)
    graph = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(spec)
    with backend.quiet():
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert())
