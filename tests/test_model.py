from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_parts import SIZE

from edge.errors import DataError
from training import backend
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside Keras

RECIPE = Recipe(model=Model(height=64, width=64))


@pytest.fixture(scope="module")
def model() -> Any:
    """Import the module, TensorFlow with it."""
    backend.start(1)
    from training.network import model

    return model


def weights_file(model: Any, folder: Path, alpha: float = 0.35) -> Path:
    """Save random MobileNetV2 weights, as a file from outside would be."""
    path = folder / "base.weights.h5"
    model._mobilenet(Recipe(model=Model(height=SIZE, width=SIZE, alpha=alpha)), None).save_weights(path)
    return path


def test_the_head_is_the_usual_pooled_classifier_with_a_heat_map(model: Any) -> None:
    """Logits are the mean of the logit map and equally the dense layer on the embedding: the mean commutes."""
    network = model.build(3, RECIPE, None)
    kernel, bias = (np.random.default_rng(1).normal(size=w.shape) for w in network.head.get_weights())
    network.head.set_weights([kernel, bias])
    pixels = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    out = {name: value.numpy() for name, value in network.whole(model.normalise(pixels), training=False).items()}
    assert {name: value.shape for name, value in out.items()} == {
        "embedding": (2, 1280),
        "logit_map": (2, 2, 2, 3),
        "logits": (2, 3),
    }
    assert np.allclose(out["logits"], out["logit_map"].mean(axis=(1, 2)), atol=1e-4)
    assert np.allclose(out["logits"], out["embedding"] @ kernel[0, 0] + bias, atol=1e-4)


def test_the_three_parts_make_the_whole(model: Any) -> None:
    """head(tail(trunk(x))) is whole(x), so training a part trains the model."""
    network = model.build(2, RECIPE, None)
    network.head.set_weights([np.ones_like(w) for w in network.head.get_weights()])
    x = model.normalise(np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8))
    apart = network.head(network.tail(network.trunk(x, training=False), training=False), training=False)
    assert np.allclose(apart["logits"], network.whole(x, training=False)["logits"], atol=1e-5)


def test_pixels_are_normalised_as_int8_input_will_read_them(model: Any) -> None:
    """0, 128 and 255 become -1, 0 and 127/128, so that int8 input is the pixel minus 128."""
    assert model.normalise(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]


def test_a_file_fills_every_layer_and_freezes_batch_normalisation(model: Any, tmp_path: Path) -> None:
    """The loaded base computes what the saved one did, and no statistic of it can move."""
    path = weights_file(model, tmp_path)
    first, second = (model.build(2, Recipe(model=Model(height=SIZE, width=SIZE)), str(path)) for _ in range(2))
    x = model.normalise(np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8))
    assert np.array_equal(*(n.tail(n.trunk(x, training=False), training=False).numpy() for n in (first, second)))
    norms = [*model.batch_norms(first.trunk), *model.batch_norms(first.tail)]
    assert len(norms) == 52
    assert not any(norm.trainable for norm in norms)


def test_weights_of_another_alpha_are_refused(model: Any, tmp_path: Path) -> None:
    """A file for alpha 0.5 does not half-fill a model of alpha 0.35: one line says what to change."""
    path = weights_file(model, tmp_path, alpha=0.5)
    with pytest.raises(DataError, match=r"not the weights of MobileNetV2 alpha 0\.35 .* give the --alpha") as caught:
        model.build(2, Recipe(model=Model(height=SIZE, width=SIZE)), str(path))
    assert "\n" not in str(caught.value)


def test_fused_normalisation_trains_like_keras_own(model: Any) -> None:
    """Outputs and moving statistics of the fast batch normalisation match Keras' in training and inference."""
    import keras

    x = np.random.default_rng(1).normal(3, 2, (64, 4, 4, 5)).astype(np.float32)
    ours, theirs = (kind(momentum=0.5) for kind in (model._FusedNormalization, keras.layers.BatchNormalization))
    trained = [layer(x, training=True).numpy() for layer in (ours, theirs)]
    assert np.allclose(*trained, atol=1e-4)
    assert np.allclose(*(layer.moving_mean.numpy() for layer in (ours, theirs)), rtol=1e-4)
    # The fused kernel divides by n - 1, here 1023.
    assert np.allclose(*(layer.moving_variance.numpy() for layer in (ours, theirs)), rtol=2e-3)
    assert np.allclose(*(layer(x, training=False).numpy() for layer in (ours, theirs)), atol=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"alpha": 0.6}, "alpha 0.6 is not one of 0.35"), ({"height": 33}, "height 33"), ({"width": 0}, "width 0")],
)
def test_a_recipe_that_cannot_be_built_is_refused(settings: dict[str, Any], message: str) -> None:
    """Width and size are checked on creation, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        Model(**settings)
