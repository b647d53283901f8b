from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge.errors import ConfigError, DataError
from training import backend
from training.recipe import IMAGENET, Backbone, Level, Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 64
PRETRAINED: tuple[Backbone, ...] = ("mobilenet-v1", "mobilenet-v2", "mobilenet-v3-small", "mobilenet-v3-large")
ALL: tuple[Backbone, ...] = (*PRETRAINED, "residual")
ALPHA = {"mobilenet-v1": 0.25, "mobilenet-v2": 0.35, "residual": 0.25}


@pytest.fixture(scope="module")
def backbones() -> Any:
    """Import the module, TensorFlow with it."""
    backend.start(1)
    from training.network import backbones

    return backbones


@pytest.fixture(scope="module")
def weights(backbones: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backbone], Path]:
    """Save random weights of a backbone, as a file from outside would be."""
    folder = tmp_path_factory.mktemp("weights")

    def save(backbone: Backbone) -> Path:
        path: Path = folder / f"{backbone}.weights.h5"
        if not path.exists():
            backbones._keras(settings(backbone), None).save_weights(path)
        return path

    return save


def settings(backbone: Backbone, level: Level = "stride-32") -> Model:
    return Model(backbone=backbone, alpha=ALPHA.get(backbone, 1.0), height=SIZE, width=2 * SIZE, level=level)


@pytest.mark.parametrize("backbone", PRETRAINED)
def test_a_file_fills_every_layer_and_freezes_batch_normalisation(
    backbones: Any, weights: Callable[[Backbone], Path], backbone: Backbone
) -> None:
    """The loaded base computes what the saved one did, and no statistic of it can move."""
    first, second = (backbones.build(settings(backbone), str(weights(backbone))) for _ in range(2))
    x = np.random.default_rng(1).normal(size=(1, SIZE, 2 * SIZE, 3)).astype(np.float32)
    assert np.array_equal(first(x, training=False).numpy(), second(x, training=False).numpy())
    norms = backbones.batch_norms(first)
    assert len(norms) > 20
    assert not any(norm.trainable for norm in norms)


def test_weights_of_another_alpha_are_refused(backbones: Any, tmp_path: Path) -> None:
    """A file for alpha 0.5 does not half-fill a model of alpha 0.35: one line says what to change."""
    path = tmp_path / "half.weights.h5"
    backbones._keras(Model(alpha=0.5, height=SIZE, width=SIZE), None).save_weights(path)
    with pytest.raises(DataError, match=r"not the weights of mobilenet-v2 alpha 0\.35 .* the alpha they") as caught:
        backbones.build(settings("mobilenet-v2"), str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["mobilenet-v1", "mobilenet-v3-small"])
def test_weights_of_another_backbone_are_refused(
    backbones: Any, weights: Callable[[Backbone], Path], other: Backbone
) -> None:
    """A MobileNetV2's file is no other network's."""
    with pytest.raises(DataError, match=f"not the weights of {other}"):
        backbones.build(settings(other), str(weights("mobilenet-v2")))


def test_the_residual_network_starts_from_nothing(backbones: Any) -> None:
    """There are no weights for it anywhere, and it says so."""
    with pytest.raises(ConfigError, match="--weights none"):
        backbones.build(settings("residual"), "imagenet")


@pytest.mark.parametrize("level", ["stride-32", "stride-16", "both"])
@pytest.mark.parametrize("backbone", ALL)
def test_every_backbone_has_its_levels_above_the_frozen_part(backbones: Any, backbone: Backbone, level: Level) -> None:
    """The head reads maps of the sizes it names, and they depend on the picture through the boundary alone."""
    import keras

    model = settings(backbone, level)
    base = backbones.build(model, None)
    read = backbones.outputs(base, model)
    strides = {"stride-32": [32], "stride-16": [16], "both": [16, 32]}[level]
    assert [layer.output.shape[1:3] for layer in read] == [(SIZE // s, 2 * SIZE // s) for s in strides]
    for blocks in (1, 4, 99):
        cut = backbones.boundary(base, model, blocks)
        keras.Model(cut.output, [layer.output for layer in read])  # Raises if a shortcut went around the boundary.


def test_more_blocks_leave_less_frozen(backbones: Any) -> None:
    """Tuning four blocks of MobileNetV2 freezes all up to block 12, tuning one all up to block 15."""
    base = backbones.build(settings("mobilenet-v2"), None)
    found = [backbones.boundary(base, settings("mobilenet-v2"), blocks).name for blocks in (1, 4)]
    assert found == ["block_15_add", "block_12_add"]


def test_fused_normalisation_trains_like_keras_own(backbones: Any) -> None:
    """Outputs and moving statistics of the fast batch normalisation match Keras' in training and inference."""
    import keras

    x = np.random.default_rng(1).normal(3, 2, (64, 4, 4, 5)).astype(np.float32)
    ours, theirs = (kind(momentum=0.5) for kind in (backbones._FusedNormalization, keras.layers.BatchNormalization))
    trained = [layer(x, training=True).numpy() for layer in (ours, theirs)]
    assert np.allclose(*trained, atol=1e-4)
    assert np.allclose(*(layer.moving_mean.numpy() for layer in (ours, theirs)), rtol=1e-4)
    # The fused kernel divides by n - 1, here 1023.
    assert np.allclose(*(layer.moving_variance.numpy() for layer in (ours, theirs)), rtol=2e-3)
    assert np.allclose(*(layer(x, training=False).numpy() for layer in (ours, theirs)), atol=1e-2)


def test_the_widest_take_their_weights_at_any_size(
    backbones: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras offers those of alpha 1.3 and 1.4 at 224 pixels alone, and asks for others at 192: they are not there."""
    import h5py
    from keras.src.backend import config
    from keras.src.legacy.saving import legacy_h5_format

    monkeypatch.setattr(config, "keras_home", lambda: str(tmp_path))
    wide = Model(alpha=1.4, height=192, width=192)
    offered = backbones._keras(Model(alpha=1.4), None)
    (tmp_path / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5"
    with h5py.File(tmp_path / "models" / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, offered)
    base = backbones.build(wide, IMAGENET)
    assert base.input.shape[1:] == (192, 192, 3)
    assert all(np.array_equal(a, b) for a, b in zip(base.get_weights(), offered.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["plain.h5", "weights", "mine.keras"])
def test_a_file_is_read_by_its_content(
    backbones: Any, weights: Callable[[Backbone], Path], tmp_path: Path, name: str
) -> None:
    """Whatever it is called: Keras itself takes the older format wherever the name does not end in .weights.h5."""
    (tmp_path / name).write_bytes(weights("mobilenet-v1").read_bytes())
    found = backbones.build(settings("mobilenet-v1"), str(tmp_path / name))
    same = backbones.build(settings("mobilenet-v1"), str(weights("mobilenet-v1")))
    assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), same.get_weights(), strict=True))


@pytest.mark.parametrize(("value", "of"), [(np.nan, "gamma"), (np.inf, "beta"), (-1.0, "moving_variance")])
def test_values_that_no_training_gave_are_refused(backbones: Any, tmp_path: Path, value: float, of: str) -> None:
    """A damaged file is named at once, not by a training that diverges."""
    made, path = backbones._keras(settings("mobilenet-v1"), None), tmp_path / "damaged.weights.h5"
    variable = getattr(backbones.batch_norms(made)[3], of)
    variable.assign(np.full(variable.shape, value, np.float32))
    made.save_weights(path)
    with pytest.raises(DataError, match=r"damaged.weights.h5: some of its values are no numbers, or no variances"):
        backbones.build(settings("mobilenet-v1"), str(path))
