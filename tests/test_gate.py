from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.bundle import Label
from edge.errors import BundleError
from training.int8 import gate

LABELS = (
    Label(name="intact", verdict="PASS"),
    Label(name="crack", verdict="DEFECT"),
    Label(name="pore", verdict="DEFECT"),
)


def logits(classes: np.ndarray) -> gate.Floats:
    """Return logits that say these classes clearly."""
    return (10 * np.eye(len(LABELS))[classes]).astype(np.float32)


def judge(pictures: int, lost: int, gained: int = 0, *, shots: int = 1, allow_drop: float = 0.01) -> gate.Gate:
    """Compare, where int8 took so many cracks for pores and so many the other way round that float got wrong.

    Each part has so many photographs: the last ones of the last parts are lost, the first of the first gained.
    """
    truth = np.repeat([0, 1, 2], pictures)
    before, after = truth.copy(), truth.copy()
    before[pictures : pictures + gained] = 2
    after[2 * pictures - lost : 2 * pictures] = 2
    part = np.arange(len(truth)) // shots
    return gate.compare(truth, logits(before), logits(after), LABELS, part=part, allow_drop=allow_drop)


@pytest.mark.parametrize(
    ("pictures", "lost", "gained", "verdict"),
    [
        (30, 0, 0, "kept"),
        (30, 1, 0, "too few to tell"),  # 3.3 points, but one picture
        (30, 2, 0, "too few to tell"),
        (30, 3, 0, "lost"),  # 10 points: gross, though three tosses of a coin may do it
        (31, 3, 0, "too few to tell"),
        (30, 4, 0, "lost"),
        (50, 5, 1, "too few to tell"),
        (30, 6, 1, "lost"),
        (30, 3, 3, "kept"),
        (200, 2, 0, "kept"),  # exactly the allowed point
        (200, 3, 0, "too few to tell"),
        (200, 4, 0, "lost"),
        (1000, 10, 0, "kept"),
        (1000, 11, 0, "lost"),
        (1, 1, 0, "too few to tell"),  # one picture
        (3, 3, 0, "lost"),
        (10, 3, 0, "lost"),
        (10, 3, 2, "too few to tell"),  # one net
        (6, 2, 0, "lost"),  # a third
        (7, 2, 0, "too few to tell"),
        (15, 2, 0, "too few to tell"),
        (15, 3, 0, "lost"),
    ],
)
def test_a_class_is_lost_grossly_or_by_more_than_a_point_and_more_than_chance(
    pictures: int, lost: int, gained: int, verdict: str
) -> None:
    """A class may lose exactly what is allowed, and more only while it is little and may be chance."""
    found = judge(pictures, lost, gained)
    row = found.classes[1]
    assert row.verdict == verdict
    assert found.passed == (verdict != "lost")
    assert (row.right_float, row.right_int8, row.pictures) == (pictures - gained, pictures - lost, pictures)
    assert row.drop == pytest.approx((lost - gained) / pictures)
    assert row.resolution == 1 / pictures


def test_allow_drop_accepts_what_it_names() -> None:
    """The drop that the error tells to accept is one that passes."""
    refused = judge(60, 4)
    with pytest.raises(BundleError, match=r"--allow-drop 0\.07$"):
        gate.require({"litert": refused})
    gate.require({"litert": judge(60, 4, allow_drop=0.07)})


def test_the_drop_to_accept_is_the_worst_of_all_runtimes() -> None:
    """Accepting what the error names lets every runtime pass; a class that is lost wholly cannot be accepted."""
    with pytest.raises(BundleError, match=r"on tflite-runtime .*; 1 more lost too much\).*--allow-drop 0\.1$"):
        gate.require({"litert": judge(60, 4), "tflite-runtime": judge(60, 6)})
    with pytest.raises(BundleError, match=r"3 of 3 pictures lost .*or take another alpha or backbone$"):
        gate.require({"litert": judge(3, 3)})


@pytest.mark.parametrize(("lost", "verdict"), [(3, "kept"), (4, "kept"), (5, "lost")])
def test_a_gross_loss_that_is_allowed_passes(lost: int, verdict: str) -> None:
    """With --allow-drop 0.2 a class of twenty may lose three or four of them."""
    found = judge(20, lost, allow_drop=0.2)
    assert found.classes[1].verdict == verdict
    assert found.passed == (verdict == "kept")


@pytest.mark.parametrize(
    ("pictures", "lost", "gained", "votes", "verdict"),
    [
        (30, 6, 0, (1, 0), "too few to tell"),  # one part, all its photographs
        (60, 6, 0, (1, 0), "too few to tell"),
        (12, 7, 0, (2, 0), "lost"),  # two parts and more than a third
        (60, 7, 0, (2, 0), "too few to tell"),
        (60, 13, 0, (3, 0), "lost"),  # three parts and more than 10 points
        (120, 9, 0, (2, 0), "too few to tell"),  # two parts and 8 points
        (1200, 18, 0, (3, 0), "too few to tell"),
        (1200, 24, 0, (4, 0), "lost"),
        (60, 8, 1, (2, 1), "too few to tell"),
        (600, 30, 6, (5, 1), "too few to tell"),
        (600, 36, 6, (6, 1), "lost"),
    ],
)
def test_photographs_of_one_part_are_one_vote(
    pictures: int, lost: int, gained: int, votes: tuple[int, int], verdict: str
) -> None:
    """Where each part was photographed six times, parts are tested and counted, while recall is of photographs."""
    row = judge(pictures, lost, gained, shots=6).classes[1]
    assert (row.parts, row.parts_lost, row.parts_gained) == (pictures / 6, *votes)
    assert (row.lost, row.gained, row.drop) == (lost, gained, pytest.approx((lost - gained) / pictures))
    assert row.verdict == verdict
    assert str(row).endswith(f"gained; {votes[0]} of {row.parts} parts lost and {votes[1]} gained")


def test_a_part_whose_photographs_flip_both_ways_is_even() -> None:
    """As many lost as gained of one part are no vote; one more of either is."""
    truth, part = np.zeros(9, np.int64), np.repeat([7, 3, 5], 3)
    before, after = np.array([0, 1, 0, 0, 1, 0, 1, 0, 0]), np.array([1, 0, 0, 1, 0, 1, 0, 0, 0])
    row = gate.compare(truth, logits(before), logits(after), LABELS, part=part).classes[0]
    assert (row.lost, row.gained, row.parts, row.parts_lost, row.parts_gained) == (3, 3, 3, 1, 1)


def test_the_error_is_one_line_with_the_worst_class_and_the_remedies() -> None:
    """It names the class, both recalls, the drop, the pictures, the runtime, and what to do."""
    with pytest.raises(BundleError) as error:
        gate.require({"litert": judge(60, 0), "tflite-runtime": judge(60, 4)}, also=", retrained for int8 too,")
    assert str(error.value) == (
        "int8, retrained for int8 too, costs crack more recall than the allowed 1 points on tflite-runtime "
        "(100.0% in float, 93.3% in int8: 6.7 points lost, 4 of 60 pictures lost and 0 gained; 1 more lost too much); "
        "add pictures, take another alpha or backbone, or accept it: --allow-drop 0.07"
    )


def test_a_missed_defect_counts_even_if_no_class_lost_much() -> None:
    """Two classes that lose two pictures each to PASS are four defects missed: refused as a whole."""
    truth = np.repeat([0, 1, 2], 30)
    after = truth.copy()
    after[[30, 31, 60, 61]] = 0
    found = gate.compare(truth, logits(truth), logits(after), LABELS)
    assert [row.verdict for row in found.classes] == ["kept", "too few to tell", "too few to tell"]
    assert found.damaged is not None
    assert (found.damaged.verdict, found.damaged.right_float, found.damaged.right_int8) == ("lost", 60, 56)
    assert found.refused[0].name == "damaged parts found"


def test_one_kind_of_damage_taken_for_another_is_no_miss() -> None:
    """Confusing two DEFECT labels costs their recall, but no damaged part is passed."""
    found = judge(30, 5)
    assert found.damaged is not None
    assert found.damaged.drop == 0


def test_without_an_intact_class_there_is_nothing_to_miss() -> None:
    """Where every label is a DEFECT, only the classes are compared."""
    truth = np.array([0, 1, 1])
    found = gate.compare(truth, logits(truth), logits(truth), [Label(name=n, verdict="DEFECT") for n in "abc"])
    assert found.damaged is None
    assert found.classes[2].verdict == "no pictures"


def test_the_table_states_what_one_picture_weighs() -> None:
    """Every class has a line with both recalls, the drop, the resolution and the verdict, and plain values too."""
    found = judge(30, 1)
    lines = found.table()
    assert len(lines) == 6
    assert lines[2].split() == ["crack", "30", "100.0%", "96.7%", "3.3%", "3.3%", "too", "few", "to", "tell"]
    by_part = judge(30, 6, shots=6)
    assert by_part.table()[2].endswith("3.3%  too few to tell: 1 of 5 parts lost and 0 gained")
    assert by_part.plain()["rows"][1]["votes"] == "1 of 5 parts lost and 0 gained"
    plain = found.plain()
    assert plain["passed"] is True
    assert plain["rows"][1]["resolution"] == pytest.approx(1 / 30, abs=1e-6)


def test_losses_of_small_classes_add_up() -> None:
    """Three of forty pictures lost in every class tell nothing by class, and enough together."""
    truth = np.repeat([0, 1, 2], 40)
    after = truth.copy()
    after[[0, 1, 2]], after[[40, 41, 42]], after[[80, 81, 82]] = 1, 2, 1
    found = gate.compare(truth, logits(truth), logits(after), LABELS)
    assert {row.verdict for row in found.classes} == {"too few to tell"}
    assert [row.name for row in found.refused][:1] == ["all pictures"]


def test_a_sign_test_is_a_coins_tail() -> None:
    """Four of four by chance is 1/16, five of six 7/64, nothing of nothing certain."""
    assert [gate.by_chance(4, 0), gate.by_chance(5, 1), gate.by_chance(0, 0)] == [1 / 16, 7 / 64, 1]


def test_two_of_fifteen_may_be_chance() -> None:
    """As the gate says: with five such classes and a tenth on the edge, every sixth model loses two net in one."""
    flip, rest = 0.1 / 4, 1 - 0.1 / 2  # On the edge either model is right by the toss of a coin.
    ways = ((lost, gained) for lost in range(16) for gained in range(16 - lost))
    one = sum(
        math.comb(15, lost) * math.comb(15 - lost, gained) * flip ** (lost + gained) * rest ** (15 - lost - gained)
        for lost, gained in ways
        if lost - gained >= 2
    )
    assert 1 - (1 - one) ** 5 == pytest.approx(1 / 6, abs=0.03)


CLASS = st.integers(0, 2)


@given(st.lists(st.tuples(CLASS, CLASS, CLASS, st.integers(0, 40)), min_size=1, max_size=80))
def test_the_gate_counts_as_one_would_by_hand(rows: list[tuple[int, int, int, int]]) -> None:
    """For any predictions of any parts: refused is what lost over a point, and grossly or not by chance."""
    truth, before, after, part = (np.array(column) for column in zip(*rows, strict=True))
    found = gate.compare(truth, logits(before), logits(after), LABELS, part=part)
    for index, row in enumerate(found.classes):
        mine = [((b == index) - (a == index), p) for t, b, a, p in rows if t == index]
        net = sum(flip for flip, _ in mine)
        assert row.pictures == len(mine)
        assert row.lost - row.gained == net
        votes = [sum(flip for flip, of in mine if of == each) for each in {p for _, p in mine}]
        lost, gained = sum(vote > 0 for vote in votes), sum(vote < 0 for vote in votes)
        assert (row.parts, row.parts_lost, row.parts_gained) == (len(votes), lost, gained)
        gross = (10 * net >= len(mine) and lost - gained >= 3) or (3 * net >= len(mine) and lost - gained >= 2)
        refused = gate.by_chance(lost, gained) <= 0.1 or gross
        assert (row.verdict == "lost") == (100 * net > len(mine) and refused)


def test_a_loss_that_may_be_chance_is_never_silent() -> None:
    """Each such row has a sentence with its counts, once for runtimes that agree; what was kept has none."""
    found = judge(40, 3)
    assert found.passed
    end = "too few pictures to tell it from chance."
    assert gate.doubts({"litert": found, "tflite-runtime": judge(40, 3)}) == [
        f"int8 may cost {name} recall on litert and tflite-runtime (100.0% in float, {figures} gained): {end}"
        for name, figures in (
            ("crack", "92.5% in int8: 7.5 points lost, 3 of 40 pictures lost and 0"),
            ("all pictures", "97.5% in int8: 2.5 points lost, 3 of 120 pictures lost and 0"),
        )
    ]
    assert len(gate.doubts({"litert": found, "tflite-runtime": judge(30, 1)})) == 4
    crack, _ = gate.doubts({"litert": judge(30, 6, shots=6)})
    assert crack.endswith("gained; 1 of 5 parts lost and 0 gained): too few parts to tell it from chance.")
    assert gate.doubts({"litert": judge(30, 0)}) == gate.doubts({"litert": judge(1000, 10)}) == []


@pytest.mark.parametrize(
    ("pictures", "lost", "gained", "allow_drop", "suspect"),
    [
        (12, 1, 0, 0.01, []),  # one picture
        (12, 2, 0, 0.01, ["crack", "all pictures"]),
        (6, 2, 0, 0.01, ["all pictures"]),  # a third of the cracks is no longer in doubt
        (30, 2, 0, 0.01, ["crack"]),
        (12, 3, 2, 0.01, []),  # one net
        (40, 2, 0, 0.01, []),  # five points
        (39, 2, 0, 0.01, ["crack"]),
        (12, 2, 0, 0.1, []),  # less than five times what is allowed
        (12, 0, 0, 0.01, []),
        (30, 4, 0, 0.01, []),  # refused anyhow
    ],
)
def test_a_large_loss_is_suspect_though_it_may_be_chance(
    pictures: int, lost: int, gained: int, allow_drop: float, suspect: list[str]
) -> None:
    """Two pictures net, and more than five times what is allowed, are worth an attempt to mend them."""
    assert [row.name for row in judge(pictures, lost, gained, allow_drop=allow_drop).suspect] == suspect


def test_models_are_compared_by_the_mean_recall_of_classes() -> None:
    """A rare class weighs as much as a common one, damaged parts found weigh as a class, and absent classes nothing."""
    truth = np.array([0] * 90 + [1] * 10)
    after = truth.copy()
    after[90:95] = 0
    found = gate.compare(truth, logits(truth), logits(after), LABELS)
    assert found.mean_recall == pytest.approx((1 + 0.5 + 0.5) / 3)
