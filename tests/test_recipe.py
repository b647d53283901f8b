from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.pooling import LogSumExp, Mean, TopK
from edge.contract.preprocess import Tiles
from edge.errors import ConfigError
from training import auto, recipe
from training.recipe import Model, Recipe, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from([*Recipe.__struct_fields__, *Model.__struct_fields__, "kind", "tiles", "x"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def problem(make: Callable[[], object]) -> str | None:
    """Return what the configuration error says; None if there is none."""
    try:
        make()
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.6}, "alpha 0.6 is not one of 0.35"),
        ({"height": 33}, "height 33"),
        ({"width": 0}, "width 0"),
        ({"height": 8192}, "above the 4096"),
        ({"backbone": "mobilenet-v3-small"}, "alpha 0.35 is not one of 1"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(settings: dict[str, Any], message: str) -> None:
    """Width and size are checked on creation, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        Model(**settings)


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Tables and keys that are left out keep their defaults; tiles and pooling are part of it."""
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nwidth = 320\n[preprocess.tiles]\ncolumns = 2\n[pooling]\nkind = "top-k"\nshare = 0.2\n')
    found = recipe.read(path)
    assert found.model == Model(width=320)
    assert found.preprocess.tiles == Tiles(columns=2)
    assert found.pooling == TopK(share=0.2)
    assert found.canvas == (224, 320 + found.preprocess.tiles.corners(224, 320)[1][1])
    assert found.loss == Recipe().loss


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nalhpa = 1.0", r"unknown key model\.alhpa; did you mean alpha"),
        ("[model]\nalpha = 0.36", "alpha 0.36 is not one of"),
        ("[loss]\nmixup = 3.0", r"loss\.mixup is 3\.0: expected a number at least 0 and at most 0\.5"),
        ('[pooling]\nkind = "max"', r"pooling\.kind is 'max'"),
        ("[head]\npictures = 1", r"head\.epochs is missing"),
        ("[top]\npictures = 1\nepochs = [3, 2]\nrate = 0.1", "epochs 3 to 2 is upside down"),
        ("[features]\npasses = [8, 2]", "passes 8 to 2 is upside down"),
        ("[head]\npictures = 0\nepochs = [1, 1]\nrate = 0.1", r"head\.pictures is 0"),
        ("[scratch]\npictures = 0\nepochs = [1, 1]\nrate = 0.1", r"scratch\.pictures is 0"),
        ("[head]\npictures = 1\nepochs = [1, 1]\nrate = inf", r"head\.rate is inf: expected a number .* at most 10"),
        ("[all]\npictures = 1\nepochs = [1, 1]\nrate = nan", r"all\.rate is nan"),
        ("[loss]\nl1 = inf", r"loss\.l1 is inf: expected a number .* at most 1000"),
        ("[model", "recipe.toml"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    """The file, the key, its value and what is expected there."""
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        recipe.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_stages_that_a_model_can_do_without_are_left_out_by_0(tmp_path: Path) -> None:
    """[top] and [all] take no pictures at all for an answer."""
    path = tmp_path / "recipe.toml"
    path.write_text("".join(f"[{name}]\npictures = 0\nepochs = [1, 1]\nrate = 0.1\n" for name in ("top", "all")))
    found = recipe.read(path)
    assert (found.top.pictures, found.all.pictures) == (0, 0)


def test_a_recipe_survives_its_report() -> None:
    """What report.json holds is the same recipe again."""
    made = Recipe(model=Model(height=96), pooling=TopK(share=0.3))
    assert recipe.parse(msgspec.json.decode(msgspec.json.encode(made.plain())), "report.json") == made


def test_every_key_is_read_somewhere() -> None:
    """No key of the recipe is one that nothing looks at: each stands as an attribute outside of recipe.py."""
    parts = [Recipe, recipe.Model, recipe.Augmentation, recipe.Loss, recipe.Top, recipe.Features]
    keys = {name for part in parts for name in part.__struct_fields__}
    files = [path for path in Path(recipe.__file__).parent.rglob("*.py") if path.name != "recipe.py"]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert keys - read == set()


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_table_is_a_recipe_or_a_configuration_error(table: dict[str, Any]) -> None:
    """Whatever stands in it: no other exception, and one line."""
    said = problem(lambda: recipe.parse(table, "it"))
    assert said is None or (said.startswith("it: ") and "\n" not in said)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_recipe_or_a_configuration_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    """A file of noise ends in no other exception."""
    path = tmp_path_factory.getbasetemp() / "noise.toml"
    path.write_bytes(raw)
    said = problem(lambda: recipe.read(path))
    assert said is None or str(path) in said


def test_the_head_learns_as_suits_its_pooling_unless_the_recipe_says() -> None:
    """One that looks for places that stand out has a higher rate; what the recipe says stays, by --auto too."""
    assert Recipe().head_plan.rate < Recipe(pooling=LogSumExp()).head_plan.rate
    own = Stage(pictures=10, epochs=(1, 2), rate=0.5)
    assert all(Recipe(head=own, pooling=pooling).head_plan == own for pooling in (Mean(), LogSumExp()))
    for level, pooling in auto.STYLES:
        assert auto._candidate(Recipe(head=own), level, pooling).head_plan == own
