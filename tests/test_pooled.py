from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from edge.contract.pooling import LogSumExp, Mean, Pooling, TopK, pool
from edge.contract.preprocess import PreprocessSpec, Tiles
from training import backend, scratch
from training.recipe import Level, Model, Recipe

POOLINGS: tuple[Pooling, ...] = (Mean(), TopK(share=0.3), LogSumExp(sharpness=2.0))


@pytest.fixture(scope="module")
def pooled() -> Any:
    """Import the module, TensorFlow with it."""
    backend.start(1)
    from training.network import pooled

    return pooled


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("places", [1, 7, 49])
def test_training_pools_as_the_device_does(pooled: Any, pooling: Pooling, places: int) -> None:
    """The same logits by place give the same pooled logits in TensorFlow and in the contract's numpy."""
    logits = np.random.default_rng(places).normal(0, 5, (4, places, 3)).astype(np.float32)
    assert np.allclose(pooled.pool(logits, pooling).numpy(), pool(logits, pooling), atol=1e-4)


@pytest.mark.parametrize("level", ["stride-32", "both"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_region_is_its_tiles_maps_pooled_together(pooled: Any, pooling: Pooling, level: Level) -> None:
    """predict() of a canvas equals running the network tile by tile and pooling all places of all tiles."""
    from training.network import model

    recipe = Recipe(
        model=Model(height=64, width=96, level=level),
        preprocess=PreprocessSpec(tiles=Tiles(rows=2, columns=2, overlap=0.5)),
        pooling=pooling,
    )
    network = model.build(3, recipe, None)
    rng = np.random.default_rng(1)
    network.head.set_weights([rng.normal(size=w.shape) for w in network.head.get_weights()])
    canvases = rng.integers(0, 256, (2, *recipe.canvas, 3), dtype=np.uint8)
    for canvas, found in zip(canvases, pooled.predict(network, canvases, recipe), strict=True):
        tiles = recipe.preprocess.tiles.cut(canvas, 64, 96)
        maps = network.whole(model.normalise(tiles), training=False)["logit_map"].numpy()
        assert np.allclose(found, pool(maps.reshape(-1, 3), pooling), atol=1e-3)


def test_many_tiles_lie_in_a_file(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a whole validation part take no memory, and are what the device cuts."""
    recipe = Recipe(
        model=Model(height=64, width=96), preprocess=PreprocessSpec(tiles=Tiles(rows=2, columns=2, overlap=0.5))
    )
    canvases = np.random.default_rng(1).integers(0, 256, (3, *recipe.canvas, 3), dtype=np.uint8)
    for most in (scratch.MOST_IN_MEMORY, 10):
        monkeypatch.setattr(scratch, "MOST_IN_MEMORY", most)
        found = pooled.tiled(canvases, recipe)
        assert np.array_equal(found, recipe.preprocess.tiles.cut(canvases, 64, 96))
        assert isinstance(found.base, mmap.mmap) == (most == 10)
