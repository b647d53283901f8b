"""Which model a start judges with: trial, proof and roll back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from ledger_samples import event
from slot_samples import crash, damage, make_bundle, make_device, place_of, prove, start, tend

from edge.contract import bundle as bundles
from edge.contract.bundle import MANIFEST, MODEL, Label
from edge.contract.messages import Verdict
from edge.errors import BundleError, CameraError, MemoryLimitError, RuntimeUnavailableError
from edge.slots import choice, starts
from edge.slots import slots as slots_module
from edge.slots.choice import PLACES, Choice, slot
from edge.slots.slots import MOST_STARTS
from edge.stopping import StoppedEarlyError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device whose old model has proven itself, and new ones."""
    return make_device(tmp_path)


def test_three_starts_without_a_word_bring_the_old_model_back(device: Path) -> None:
    """The fourth start judges with the old model, and says which model did not come up, who judges and what to do."""
    for _ in range(MOST_STARTS):
        started = start(device, "new")
        assert (started.judges, started.slots.trouble) == ("new", "")
    started = start(device, "new")
    new, old = (bundles.identify(device / name)[:12] for name in ("new", "old"))
    assert started.judges == "old"
    assert started.said[-1] == (
        f"the model 'new' {new} did not come up in 3 starts; the model 'old' {old} judges instead;"
        " push another or run edge-inspect model retry"
    )
    assert started.slots.decision == started.said[-1]


def test_it_stays_back_until_another_is_wanted(device: Path) -> None:
    """The old model judges at each later start; a newer one is tried, and then the refused one too if it is wanted."""
    crash(device, "new", 4)
    again = start(device, "new")
    assert (again.judges, again.slots.decision) == ("old", "")
    assert "did not come up" in again.slots.trouble
    assert (start(device, "newer").judges, start(device, "newer").slots.trouble) == ("newer", "")
    assert start(device, "new").judges == "new"


def test_what_was_gone_back_to_stays_though_it_crashes(device: Path) -> None:
    """Two models never take turns: the status says that the fault is not the model's."""
    crash(device, "new", 4)
    crash(device, "new", 5)
    started = start(device, "new")
    assert started.judges == "old"
    assert "the last 6 starts of the model 'old'" in started.slots.trouble
    assert "the fault is not the model's" in started.slots.trouble


def test_a_proven_model_is_never_left_by_itself(device: Path) -> None:
    """One that judged here before judges on however often it crashes, and the status says that it does."""
    prove(device, "new")
    crash(device, "new", 5)
    started = start(device, "new")
    assert started.judges == "new"
    assert "the last 5 starts of the model 'new'" in started.slots.trouble


def test_a_crash_loop_without_another_model_goes_on(tmp_path: Path) -> None:
    """A first model that crashes is tried on and on, and the status says that there is no other."""
    make_bundle(tmp_path, "new")
    crash(tmp_path, "new", 4)
    started = start(tmp_path, "new")
    assert started.judges == "new"
    assert "did not come up in 3 starts, and there is no other to go back to" in started.slots.trouble
    assert "the fault is not the model's" not in started.slots.trouble


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (None, False),
        (StoppedEarlyError(), False),
        (CameraError("gone"), False),
        (BundleError("damaged"), False),
        (RuntimeUnavailableError("memory is short"), True),
        (MemoryLimitError("too large"), True),
        (IndexError("nobody's"), True),
    ],
)
def test_only_an_end_that_may_be_the_models_fault_counts(
    device: Path, error: BaseException | None, *, counts: bool
) -> None:
    """A stop, the camera's and the configuration's errors are in order; a model that is too large is not."""
    started = start(device, "new")
    kind = type(error) if error else None
    started.slots.__exit__(kind, error, None)
    assert starts.in_vain(device / "state", bundles.identify(device / "new")) == counts


def test_starts_before_a_power_cut_do_not_count(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another boot of the kernel the new model has all its starts again."""
    crash(device, "new")
    fresh = device / "boot_id"
    fresh.write_text("another")
    monkeypatch.setattr(starts, "_KERNEL", fresh)
    assert start(device, "new").judges == "new"


def test_a_bundle_that_is_damaged_is_stood_in_for_at_once(device: Path) -> None:
    """The status names the file and who judges instead; mended, the wanted one judges, and nothing is remembered."""
    whole = (device / "new" / MODEL).read_bytes()
    damage(device / "new" / MODEL)
    started = start(device, "new")
    assert started.judges == "old"
    assert "model.tflite is damaged" in started.slots.trouble
    assert "the model 'old'" in started.slots.trouble
    (device / "new" / MODEL).write_bytes(whole)
    started = start(device, "new")
    assert (started.judges, started.slots.trouble) == ("new", "")


def test_a_slot_whose_signature_nobody_trusts_does_not_stand_in(device: Path) -> None:
    """Trusted keys are asked for the slot's copy at each use as for what is wanted."""
    with pytest.raises(BundleError, match=r"new: manifest\.sig is missing"):
        start(device, "new", trusted_keys=["A" * 43 + "="])


def test_a_model_that_the_runtime_refuses_is_stood_in_for(device: Path) -> None:
    """A file that is no model leaves the old one judging, with the runtime's words; each start tries it again."""
    bundle = bundles.read(device / "new")
    bundles.write(device / "new", bundle.manifest, {MODEL: b"no model at all"})
    for _ in range(MOST_STARTS + 1):
        started = start(device, "new")
        assert started.judges == "old"
        assert "cannot be used (litert refuses the model" in started.slots.trouble
    assert "the last 3 starts of the model 'old'" in started.slots.trouble
    assert choice.read(device / "state").refused == ""


def test_a_slot_that_does_not_fit_the_configuration_is_passed_over(device: Path) -> None:
    """A model without the classes that a region names cannot stand in for one that has them."""
    bundle = bundles.read(device / "new")
    labels = (Label(name="fine", verdict="PASS"), Label(name="cracked", verdict="DEFECT"))
    bundles.write(device / "new", msgspec.structs.replace(bundle.manifest, labels=labels), bundle.files)
    regions = [{"name": "left", "x": 0.0, "y": 0.0, "width": 0.5, "height": 1.0, "labels": {"fine": "DEFECT"}}]
    for _ in range(MOST_STARTS + 1):
        started = start(device, "new", regions=regions)
    assert started.judges == "new"
    assert "there is no other" in started.slots.trouble


def test_the_older_of_two_copies_gives_way(device: Path) -> None:
    """The model that judged until the last proof stays; the one before it makes room."""
    prove(device, "new", "newer")
    held = {bundles.read(slot(device / "state", place)).manifest.name for place in PLACES}
    assert held == {"new", "newer"}
    damage(device / "newer" / MANIFEST)
    assert start(device, "newer").judges == "newer"


def test_who_goes_back_by_hand_is_obeyed_by_a_proof_that_comes_later(device: Path) -> None:
    """A model that proves itself after somebody left it is kept, and stays left."""
    started = start(device, "new")
    choice.change(device / "state", lambda made: made.refuse(bundles.identify(device / "new"), "was left"))
    started.slots._keep(proven=True)
    assert place_of(device, "new").exists()
    assert start(device, "new").judges == "old"


def test_two_do_not_choose_at_once(device: Path) -> None:
    """While one chooses another is told so, and does not wait."""
    with choice.locked(device / "state"), pytest.raises(BlockingIOError):
        choice.change(device / "state", Choice.forgive)


def prove_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first prediction be proof."""
    monkeypatch.setattr(slots_module, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(slots_module, "PROVEN_SECONDS", 0.0)


def test_only_predictions_are_proof(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that no scores led to prove nothing, however long they are given."""
    prove_at_once(monkeypatch)
    slots = start(device, "new").slots
    unjudged = msgspec.structs.replace(event(verdict=Verdict.UNKNOWN), label=None)
    slots.judged([unjudged])
    tend(slots)
    assert starts.in_vain(device / "state", bundles.identify(device / "new")) == 1
    slots.judged([unjudged, event()])
    tend(slots)
    assert starts.in_vain(device / "state", bundles.identify(device / "new")) == 0
    assert place_of(device, "new").exists()


def test_a_copy_that_could_not_be_kept_is_tried_again(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, in the same life, and then the status has nothing to say any more."""
    prove_at_once(monkeypatch)
    monkeypatch.setattr(slots_module, "RETRY_SECONDS", 0.0)
    started = start(device, "new")
    started.slots.judged([event()])
    with choice.locked(device / "state"):
        tend(started.slots)
        assert "cannot be gone back to" in started.slots.trouble
    tend(started.slots)
    tend(started.slots)
    assert started.said[-1] == ""
    assert place_of(device, "new").exists()
