"""Models that are kept before they have proven themselves: what they are good for, and what they never displace."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_samples import event
from slot_samples import (
    CELLS,
    crash,
    damage,
    make_device,
    make_new_device,
    place_of,
    prove,
    proven,
    start,
    template,
    tend,
    try_out,
)

from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.slots import choice, starts
from edge.slots import slots as slots_module
from edge.slots.slots import KEPT_SECONDS, MOST_STARTS, PROVEN_SECONDS, Slots


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device whose old model has proven itself, and new ones."""
    return make_device(tmp_path)


def held(device: Path) -> set[str]:
    """Return the names of the bundles that lie in the slots."""
    names = {bundles.identify(device / name): name for name in CELLS}
    return {names[each] for each in choice.held(device / "state").values()}


class Clock:
    """The monotonic clock of what keeps models, which goes as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(slots_module, "time", self)

    def monotonic(self) -> float:
        """Return the seconds since some moment."""
        return self.now

    def judge_for(self, slots: Slots, seconds: float) -> None:
        """Let so much time pass, and turn the line once."""
        self.now += seconds
        tend(slots)


def test_a_copy_comes_early_and_proof_late(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first seconds a model is held on trial, its start still counted; after the minute it is proven."""
    clock, slots = Clock(monkeypatch), start(device, "new").slots
    slots.judged([event()])
    clock.judge_for(slots, KEPT_SECONDS - 1)
    assert held(device) == {"old"}
    clock.judge_for(slots, 1)
    assert (held(device), proven(device)) == ({"old", "new"}, {"old"})
    clock.judge_for(slots, PROVEN_SECONDS - KEPT_SECONDS - 1)
    assert proven(device) == {"old"}
    assert starts.in_vain(device / "state", bundles.identify(device / "new")) == 1
    clock.judge_for(slots, 1)
    assert proven(device) == {"old", "new"}
    assert starts.in_vain(device / "state", bundles.identify(device / "new")) == 0


def test_an_early_copy_that_fails_is_tried_again_soon(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it could not be made the status says so, and a few seconds later it is made and nothing said."""
    clock, slots = Clock(monkeypatch), start(device, "new").slots
    slots.judged([event()])
    with choice.locked(device / "state"):
        clock.judge_for(slots, KEPT_SECONDS)
        assert "the model 'new'" in slots.trouble
        assert "cannot be gone back to" in slots.trouble
    clock.judge_for(slots, KEPT_SECONDS)
    assert (held(device), slots.trouble) == ({"old", "new"}, "")


def test_a_model_that_was_never_proven_is_better_than_a_crash_loop(tmp_path: Path) -> None:
    """The first model, kept on trial, stands in for the next one that does not come up, and can prove itself then."""
    device = make_new_device(tmp_path)
    try_out(device, "old")
    crash(device, "new")
    started = start(device, "new")
    assert started.judges == "old"
    assert "did not come up in 3 starts; the model 'old'" in started.slots.trouble
    started.slots._keep(proven=True)
    assert proven(device) == {"old"}


def test_being_kept_on_trial_protects_no_model_that_crashes(device: Path) -> None:
    """Three starts without a word are held against it as against one that was not kept."""
    for _ in range(MOST_STARTS):
        assert start(device, "new").judges == "new"
        try_out(device, "new")
    assert start(device, "new").judges == "old"
    assert choice.read(device / "state").refused == bundles.identify(device / "new")


def test_a_retry_is_a_trial_too(device: Path) -> None:
    """What was refused on trial is on trial again, until it has judged for the minute."""
    try_out(device, "new")
    crash(device, "new", 4)
    choice.change(device / "state", choice.Choice.forgive)
    starts.forget_all(device / "state")
    crash(device, "new")
    assert start(device, "new").judges == "old"


def test_what_has_proven_itself_stays_so_while_it_is_held(device: Path) -> None:
    """Each later start keeps it early anew, which does not put it back on trial, rotten or whole."""
    try_out(device, "old")
    damage(place_of(device, "old") / MODEL)
    try_out(device, "old")
    assert proven(device) == {"old"}
    assert bundles.read(place_of(device, "old")).manifest.name == "old"


def test_models_that_fail_in_turn_leave_the_last_proven_one(device: Path) -> None:
    """Three are pushed, judge for seconds each and crash: the old one stands in for the last of them."""
    for name in ("new", "newer", "newest"):
        try_out(device, name)
        assert held(device) == {"old", name}
    crash(device, "newest")
    assert start(device, "newest").judges == "old"


def test_of_models_on_trial_the_one_that_judged_last_stays(tmp_path: Path) -> None:
    """Where none has proven itself each new one displaces the oldest, and the one before it stands in."""
    device = make_new_device(tmp_path)
    try_out(device, "old", "new", "newer")
    assert held(device) == {"new", "newer"}
    crash(device, "newest")
    assert start(device, "newest").judges == "newer"


def test_a_proven_copy_that_has_rotted_gives_way_first(device: Path) -> None:
    """A slot that nobody can judge with is no reason to displace a model on trial that somebody can."""
    try_out(device, "new")
    damage(place_of(device, "old") / MODEL)
    try_out(device, "newer")
    assert held(device) == {"new", "newer"}


def test_the_proven_one_stands_in_before_the_one_that_judged_last(device: Path) -> None:
    """A model on trial, superseded by another that crashes, is passed over for one that has proven itself."""
    try_out(device, "new")
    crash(device, "newer")
    assert start(device, "newer").judges == "old"
    damage(place_of(device, "old") / MODEL)
    assert start(device, "newer").judges == "new"


def test_a_file_from_before_there_were_trials_is_read(device: Path) -> None:
    """What the slots of an older device hold has proven itself there."""
    file = device / "state" / choice.FILE
    made = json.loads(file.read_bytes())
    del made["trial"]
    file.write_text(json.dumps(made))
    assert choice.read(device / "state").active == "a"
    assert proven(device) == {"old"}


def test_without_the_file_s_word_nothing_is_proven(device: Path) -> None:
    """Where slots.json is damaged whatever is wanted and crashes can be left, until it has judged for the minute."""
    prove(device, "new")
    (device / "state" / choice.FILE).write_bytes(b"damaged")
    assert proven(device) == set()
    try_out(device, "new")
    assert proven(device) == set()
    crash(device, "new")
    assert start(device, "new").judges == "old"


_STEPS = st.lists(st.tuples(st.sampled_from(sorted(CELLS)), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
def test_whatever_is_pushed_in_turn(steps: list[tuple[str, bool]]) -> None:
    """What judges is held; a proven one goes only where the other slot has another; only time is proof."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "state").mkdir()
        for name in CELLS:
            (place / name).symlink_to(template() / name)
        before: set[str] = set()
        for name, is_proven in steps:
            (prove if is_proven else try_out)(place, name)
            after, gone = proven(place), before - held(place)
            assert name in held(place)
            assert not gone or len(before) == 2
            assert after == (before - gone) | ({name} if is_proven else set())
            before = after
