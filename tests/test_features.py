from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tiny_parts import SIZE, make_folder, read_folder

from edge.contract.pooling import LogSumExp
from edge.contract.preprocess import PreprocessSpec, Tiles
from training import backend, cache, sealed
from training.recipe import Augmentation, Features, Model, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.data.dataset import Dataset

RECIPE = Recipe(model=Model(height=SIZE, width=SIZE), features=Features(pictures=30, passes=(2, 5)))
NETWORKS = (
    RECIPE,
    replace(RECIPE, model=Model(height=SIZE, width=SIZE, level="both"), pooling=LogSumExp()),
    replace(RECIPE, model=Model(height=SIZE, width=SIZE, level="stride-16")),
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A few pictures, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    backend.start(1)
    return read_folder(make_folder(tmp_path / "parts", each=4))


def extractor(recipe: Recipe) -> tuple[Any, Any]:
    from training.network import extract, model

    network = model.build(3, recipe, None)
    return network, extract.Extractor(network, recipe)


def compute(made: Any, data: Dataset, recipe: Recipe, passes: int = 2) -> list[Any]:
    from training.network import features

    found: list[Any] = features.compute(made, data, recipe, passes=passes, title="features")
    return found


@pytest.mark.parametrize("recipe", NETWORKS)
def test_features_are_the_networks_own(data: Dataset, recipe: Recipe) -> None:
    """Through the device's runtime the plain pictures' features are those of TensorFlow, to half precision."""
    from training.network import model

    network, made = extractor(recipe)
    cut, *read = compute(made, data, recipe)
    wanted = network.trunk(model.normalise(data.pixels), training=False)
    assert np.allclose(cut[0][:, 0], wanted, atol=2e-2)
    maps = network.tail(wanted, training=False)
    for found, each in zip(read, maps if isinstance(maps, list) else [maps], strict=True):
        means = recipe.pooling == RECIPE.pooling
        assert np.allclose(found[0][:, 0], np.mean(each, axis=(1, 2), keepdims=True) if means else each, atol=2e-2)


def test_every_tile_has_features_of_its_own(data: Dataset) -> None:
    """Of two overlapping tiles the first one's features are those of its pixels alone."""
    recipe = replace(RECIPE, preprocess=PreprocessSpec(tiles=Tiles(columns=2, overlap=0.0)))
    wide = np.concatenate([data.pixels, data.pixels[::-1]], axis=2)
    from dataclasses import replace as change

    _, made = extractor(recipe)
    cut = compute(made, change(data, pixels=wide), recipe)[0]
    assert cut.shape[:3] == (2, 12, 2)
    assert np.array_equal(cut[0][:, 0], cut[0][::-1, 1])


def test_what_was_computed_is_read_again(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run gives the same features without running the network, more variants compute only what is missing."""
    _, made = extractor(RECIPE)
    first = compute(made, data, RECIPE, passes=2)
    more = compute(made, data, RECIPE, passes=3)
    monkeypatch.setattr(type(made), "extract", lambda *_: pytest.fail("it was computed again"))
    again, all_again = compute(made, data, RECIPE, passes=2), compute(made, data, RECIPE, passes=3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(more, all_again, strict=True))
    assert all(np.array_equal(a, b[:2]) for a, b in zip(first, more, strict=True))


def test_the_order_of_pictures_does_not_matter(data: Dataset) -> None:
    """A picture's variants depend on its pixels alone: another split finds them in the cache."""
    _, made = extractor(RECIPE)
    rows = np.arange(len(data.sources))[::-1]
    there, back = compute(made, data, RECIPE)[0], compute(made, data.take(rows), RECIPE)[0]
    assert np.array_equal(there, back[:, ::-1])


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, augmentation=Augmentation(crop=0.3)),
        replace(RECIPE, model=Model(height=SIZE, width=SIZE, level="stride-16")),
        replace(RECIPE, pooling=LogSumExp()),
    ],
)
def test_another_recipe_has_features_of_its_own(data: Dataset, other: Recipe) -> None:
    """What changes the features changes where they are kept."""
    compute(extractor(RECIPE)[1], data, RECIPE)
    before = set(cache.folder("features").iterdir())
    compute(extractor(other)[1], data, other)
    assert len(set(cache.folder("features").iterdir()) - before) == 1


@pytest.mark.usefixtures("data")
def test_another_dropout_has_the_same_features() -> None:
    """It is the head's: a search that varies it computes nothing again."""
    from training.network import features, model
    from training.network.extract import Extractor

    network, _ = extractor(RECIPE)
    other = replace(RECIPE, model=replace(RECIPE.model, dropout=0.4))
    twin = model.build(3, other, None)
    twin.whole.set_weights(network.whole.get_weights())
    assert len({features._key(Extractor(one, two), two) for one, two in ((network, RECIPE), (twin, other))}) == 1


CODE = ("training.data.augment.VERSION", "edge.__version__")
LIBRARIES = ("PIL.__version__", "tensorflow.__version__", "keras.__version__", "ai_edge_litert.__version__")


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", [*CODE, *LIBRARIES])
def test_other_code_has_features_of_its_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What an older way to vary, release, resizing, converter or runtime left is not taken for this one's."""
    from training.network import features

    _, made = extractor(RECIPE)
    before = features._key(made, RECIPE)
    monkeypatch.setattr(name, "0.0.1")
    assert features._key(made, RECIPE) != before


def flipped(content: bytes) -> bytes:
    """Flip an exponent's bit in the middle: the values are wrong, their number is right."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x40]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"x", lambda old: bytes(len(old)), flipped])
def test_a_damaged_file_is_computed_anew(data: Dataset, damage: Callable[[bytes], bytes]) -> None:
    """A file that was cut off, zeroed by a power cut or changed on its disk is replaced and never believed."""
    _, made = extractor(RECIPE)
    first = compute(made, data, RECIPE)
    for path in cache.folder("features").rglob("*.f16"):
        path.write_bytes(damage(path.read_bytes()))
    assert all(np.array_equal(a, b) for a, b in zip(first, compute(made, data, RECIPE), strict=True))


def test_a_file_that_its_disk_fails_to_read_is_computed_anew(data: Dataset) -> None:
    """An error of input is damage like any other: what cannot be read is replaced."""
    _, made = extractor(RECIPE)
    first = compute(made, data, RECIPE)
    path = next(cache.folder("features").rglob("*.f16"))
    path.unlink()
    path.symlink_to("/proc/self/mem")  # Nothing is mapped at its beginning: reading that is EIO.
    with pytest.raises(OSError, match="Input/output error"):
        path.read_bytes()
    assert all(np.array_equal(a, b) for a, b in zip(first, compute(made, data, RECIPE), strict=True))
    assert path.is_file()


@given(raw=st.binary(max_size=100), size=st.integers(1, 9), most=st.integers(1, 6))
def test_any_bytes_are_whole_variants_or_none(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, size: int, most: int
) -> None:
    """A file of noise ends in no exception, and in values only if it holds whole variants: the first of them."""
    from training.network import features

    path = tmp_path_factory.getbasetemp() / "noise.f16"
    path.write_bytes(raw)
    assert features._read(path, size, most).shape == (0, size)
    sealed.save(path, raw)
    found = features._read(path, size, most)
    count = len(raw) // (2 * size)
    assert found.shape == ((min(count, most), size) if len(raw) == 2 * size * count else (0, size))
    assert raw.startswith(found.tobytes())


def test_a_file_that_another_build_removes_meanwhile_is_computed_anew(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making room takes place at any time, between reading a file and noting its use too."""
    _, made = extractor(RECIPE)
    first = compute(made, data, RECIPE)
    touch = os.utime

    def remove_and_touch(path: Path) -> None:
        path.unlink()
        touch(path)

    monkeypatch.setattr(os, "utime", remove_and_touch)
    assert all(np.array_equal(a, b) for a, b in zip(first, compute(made, data, RECIPE), strict=True))
    assert len(list(cache.folder("features").rglob("*.f16"))) == len(data.sources)
