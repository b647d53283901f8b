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
from training.recipe import All, Features, Head, Model, Recipe, Scratch, Stage, Top

if TYPE_CHECKING:
    from collections.abc import Callable

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
PARTS = (Recipe, Model, recipe.Augmentation, recipe.Loss, Features, Head, Top, All, Scratch)
KEYS = st.sampled_from([*{name: None for part in PARTS for name in part.__struct_fields__}, "kind", "tiles", "x"])
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
        ("[top]\nepochs = [3, 2]", "top: epochs 3 to 2 is upside down"),
        ("[top]\nepochs = 3", r"top\.epochs is 3: expected an array of 2, each item a whole number at least 1$"),
        ("[head]\nepochs = [1, 2, 3]", r"head\.epochs is \[1, 2, 3\]: expected an array of 2, each item a whole"),
        ("[all]\nepochs = [0, 3]", r"all\.epochs\[0\] is 0: expected a whole number at least 1$"),
        ("[features]\npasses = [8, 2]", "passes 8 to 2 is upside down"),
        ("[head]\nrat = 1e-3", r"unknown key head\.rat; did you mean rate"),
        ("[head]\npictures = 0", r"head\.pictures is 0: expected a whole number at least 1$"),
        ("[scratch]\npictures = 0", r"scratch\.pictures is 0"),
        ("[head]\nrate = inf", r"head\.rate is inf: expected a number .* at most 10"),
        ("[head]\nrate = 0.0", r"head\.rate is 0\.0: expected a number above 0"),
        ("[all]\nrate = nan", r"all\.rate is nan"),
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
    """[top] and [all] take no pictures at all for an answer, and nothing besides."""
    path = tmp_path / "recipe.toml"
    path.write_text("[top]\npictures = 0\n[all]\npictures = 0\n")
    found = recipe.read(path)
    assert (found.top, found.all) == (Top(pictures=0), All(pictures=0))


@pytest.mark.parametrize("table", ["head", "top", "all", "scratch", "features"])
def test_each_key_of_a_stage_may_stand_alone(table: str) -> None:
    """Whichever key is set, the others of its table are as they are without it."""
    plain = Recipe().plain()
    for key, value in plain[table].items():
        other = [7, 9] if isinstance(value, tuple) else value / 2 if isinstance(value, float) else value + 1
        found = recipe.parse({table: {key: other}}, "it").plain()
        assert msgspec.json.decode(msgspec.json.encode(found[table])) == {
            **msgspec.json.decode(msgspec.json.encode(plain[table])),
            key: other,
        }
        assert {**found, table: plain[table]} == plain


def test_a_recipe_survives_its_report() -> None:
    """What report.json holds is the same recipe again, its head at the rate that the pooling gave it."""
    made = Recipe(model=Model(height=96), pooling=TopK(share=0.3), head=Head(pictures=500))
    again = recipe.parse(msgspec.json.decode(msgspec.json.encode(made.plain())), "report.json")
    assert again == msgspec.structs.replace(made, head=Head(pictures=500, rate=made.head_plan.rate))
    assert again.plain() == made.plain()


def test_every_key_is_read_somewhere() -> None:
    """No key of the recipe is one that nothing looks at: each stands as an attribute outside of recipe.py."""
    keys = {name for part in PARTS for name in part.__struct_fields__}
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
    own = Head(pictures=10, epochs=(1, 2), rate=0.5)
    plan = Stage(pictures=10, epochs=(1, 2), rate=0.5)
    assert all(Recipe(head=own, pooling=pooling).head_plan == plan for pooling in (Mean(), LogSumExp()))
    assert all(styled.head_plan == plan for styled in auto.styled(Recipe(head=own)))


def test_a_head_whose_rate_is_left_open_suits_whatever_pooling_is_chosen() -> None:
    """The pooling of the same file, or the one that --auto changes it to, sets the rate and nothing else."""
    told = recipe.parse({"pooling": {"kind": "log-sum-exp"}, "head": {"pictures": 500}}, "it")
    assert told.head_plan == Stage(pictures=500, epochs=(20, 60), rate=Recipe(pooling=LogSumExp()).head_plan.rate)
    mean = auto.styled(told)[0]
    assert mean.pooling == Mean()
    assert mean.head_plan == Stage(pictures=500, epochs=(20, 60), rate=Recipe().head_plan.rate)


def test_a_report_says_how_the_head_learns() -> None:
    """The plain recipe, of which keys are made too, holds the head's rate, and another one for another pooling."""
    assert Recipe().plain()["head"] == msgspec.to_builtins(Recipe().head_plan)
    assert Recipe().plain()["head"]["rate"] != Recipe(pooling=LogSumExp()).plain()["head"]["rate"]
