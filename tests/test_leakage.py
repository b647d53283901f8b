"""Whether siblings stayed together is read from the parts, not from what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image
from test_inputs import SMALL, bundle_of, read
from tiny_parts import CLASSES, draw, make_folder

from training.data.embedding import embed
from training.evaluation import leakage
from training.recipe import Model

if TYPE_CHECKING:
    from pathlib import Path

    from training.evaluation.leakage import Leakage
    from training.inputs import Inputs

BY_PART = r"regex:/(\d+)"


def find(given: Inputs) -> Leakage | None:
    """Look for leaks as a build does."""
    divided = given.divide(SMALL)
    siblings = given.siblings(divided, SMALL)
    return leakage.find(divided.truth, divided.part, siblings, lambda: embed(divided.whole(), None), seed=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Each part was photographed twice, and the second photograph does not look like the first."""
    folder = make_folder(tmp_path / "data", each=10)
    for kind in CLASSES:
        for seed in range(10):
            Image.fromarray(draw(kind, 500 + seed)).save(folder / kind / f"{seed:03}-again.png")
    return folder


def test_siblings_that_stayed_together_flatter_nothing(data: Path) -> None:
    """With a rule from the start no part lies in two parts of the split."""
    found = find(read("--data", data, "--group-by", BY_PART))
    assert found is not None
    assert found.kept_together
    assert (found.share, found.torn) == (1, 0)
    assert "Here all of these stayed together, so that they do not flatter the figures." in found.text


def test_a_rule_does_not_mend_a_split_that_was_made_without(data: Path, demo_bundle: Path, tmp_path: Path) -> None:
    """Old pictures stay where they were, torn apart: the report says so, and how often in the test part."""
    given = read(
        "--data", data, "--split-of", bundle_of(demo_bundle, tmp_path / "b", data, "none"), "--group-by", BY_PART
    )
    found = find(given)
    assert found is not None
    assert not found.kept_together
    dealt = given.divide(SMALL).dealt
    numbers = [{source.name.split("/")[1][:3] for source in part.sources} for part in dealt]
    torn = [source.name.split("/")[1][:3] in set().union(*numbers[:3]) for source in dealt.test.sources]
    assert found.torn == np.mean(torn) > 0
    assert f"{found.torn:.1%} of the test pictures have a sibling in another part: the figures may be" in found.text
    assert "stayed together" not in found.text.split("Here")[1]


def test_near_duplicates_between_data_and_test_folder_are_told(tmp_path: Path) -> None:
    """Test pictures that are training ones saved again are a leak, though neither folder has one in itself."""
    data, test = make_folder(tmp_path / "data", each=12), make_folder(tmp_path / "test", each=4, start=300)
    arguments = ("--data", data, "--test-data", test)
    assert find(read(*arguments)) is None
    Image.open(data / "spot" / "003.png").save(test / "spot" / "300.jpg", quality=90)
    found = find(read(*arguments))
    assert found is not None
    assert not found.kept_together
    assert found.torn == pytest.approx(1 / 13)
    assert found.share == pytest.approx(2 / 49)


def test_siblings_within_a_test_folder_are_not_torn(tmp_path: Path) -> None:
    """Groups of --data and of --test-data that are all their own stay together, whatever the names of the files."""
    data, test = make_folder(tmp_path / "data", each=12), make_folder(tmp_path / "test", each=4, start=300)
    found = find(read("--data", data, "--test-data", test, "--group-by", BY_PART))
    assert found is not None
    assert found.kept_together
    assert found.share == 1


def test_a_few_torn_test_pictures_are_told_in_a_large_set(tmp_path: Path) -> None:
    """What counts is their share of the test part, and too few groups for the probe silence nothing but its figures."""
    data, test = make_folder(tmp_path / "data", each=3), make_folder(tmp_path / "test", each=1, start=300)
    for seed in range(1000, 1200):
        Image.fromarray(draw("spot", seed)).save(data / "spot" / f"{seed}.png")
    Image.open(data / "spot" / "1003.png").save(test / "spot" / "300.jpg", quality=90)
    found = find(read("--data", data, "--test-data", test))
    assert found is not None
    assert found.share < 0.02 < found.torn
    assert (found.by_group, found.at_random, found.kept_together) == (None, None, False)
    assert "probe" not in found.text


def twins(folder: Path) -> Path:
    """Save each picture again as JPEG; the names are shot-0.png, shot-1.jpg, ...: a number of no meaning."""
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        Image.open(path).save(path.with_name(f"shot-{2 * number + 1}.jpg"), quality=90)
        path.rename(path.with_name(f"shot-{2 * number}.png"))
    return folder


@pytest.mark.parametrize("rule", [r"regex:shot-(\d+)", "none"])
def test_a_wrong_rule_silences_nothing(tmp_path: Path, rule: str) -> None:
    """By a running number no two pictures belong together: that nearly equal ones were torn is told all the same."""
    found = find(read("--data", twins(make_folder(tmp_path / "data", each=10)), "--group-by", rule))
    assert found is not None
    assert not found.kept_together
    assert found.share == 1
    assert found.torn > 0
    assert "stayed together" not in found.text.split("Here")[1]
    assert "a --group-by that keeps them together" in found.text


def test_a_right_rule_keeps_nearly_equal_pictures_together_too(tmp_path: Path) -> None:
    """What --group-by near-duplicate kept together does not count as torn."""
    found = find(read("--data", twins(make_folder(tmp_path / "data", each=10)), "--group-by", "near-duplicate"))
    assert found is not None
    assert (found.share, found.torn, found.kept_together) == (1, 0, True)


@pytest.mark.parametrize(("rule", "side", "again"), [("none", 224, 0), ("none", 32, 1), ("near-duplicate", 32, 0)])
def test_siblings_are_those_of_one_fixed_canvas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: str, side: int, again: int
) -> None:
    """Whatever the model's size, the same pictures are alike; they are read again only if that was not done before."""
    given = read("--data", twins(make_folder(tmp_path / "data", each=10)), "--group-by", rule)
    standard, other = (replace(SMALL, model=Model(height=each, width=each)) for each in (224, side))
    wanted = given.siblings(given.divide(standard), standard)
    divided = given.divide(other)
    capsys.readouterr()
    found = given.siblings(divided, other)
    assert capsys.readouterr().err.count("reading to find near duplicates: done") == again
    assert np.array_equal(found[:, np.newaxis] == found, wanted[:, np.newaxis] == wanted)
