"""`edge-inspect model`: what it shows, and that the next start does what was chosen."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY
from device import assert_one_clear_line, run_inspect
from msgspec import structs
from slot_samples import crash, make_bundle, make_device, prove, start, try_out, want

from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.errors import ConfigError
from edge.ledger.ledger import FILE as LEDGER
from edge.slots import choice, starts

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device whose old model has proven itself, and which wants the new one."""
    device = make_device(tmp_path)
    want(device, "new")
    (device / "state" / LEDGER).touch()
    return device


def model(device: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return run_inspect("model", *words, "--config", device / "device.toml")


def short(device: Path, name: str) -> str:
    """Return how a bundle is shown."""
    return f"{name!r} {bundles.identify(device / name)[:12]}"


def test_both_slots_are_shown(device: Path) -> None:
    """The list says what is wanted, what each slot holds, how they fare, and which of them the next start takes."""
    assert model(device).stdout.splitlines() == [
        f"* wanted  {short(device, 'new')}  on trial",
        f"  slot a  {short(device, 'old')}  proven",
        "  slot b  empty",
        "* the next start judges with this one",
    ]
    crash(device, "new", 2)
    assert "on trial, begun 2 times; after 3 that end without a word it is refused" in model(device, "list").stdout
    crash(device, "new", 1)
    assert f"* slot a  {short(device, 'old')}" in model(device, "list").stdout
    crash(device, "new", 1)
    assert model(device).stdout.splitlines()[:2] == [
        f"  wanted  {short(device, 'new')}  refused: it did not come up in 3 starts",
        f"* slot a  {short(device, 'old')}  proven",
    ]


def test_what_is_kept_on_trial_is_shown(device: Path) -> None:
    """A slot's model is proven only once it has judged for long enough, and is shown as on trial until then."""
    try_out(device, "new")
    shown = [
        f"* wanted  {short(device, 'new')}  on trial",
        f"  slot a  {short(device, 'old')}  proven",
        f"  slot b  {short(device, 'new')}  on trial",
    ]
    assert model(device).stdout.splitlines()[:3] == shown
    prove(device, "new")
    assert model(device).stdout.splitlines()[:3] == [line.replace("on trial", "proven") for line in shown]


def test_who_goes_back_from_a_model_on_trial_gets_the_proven_one(device: Path) -> None:
    """The copy of the wanted model is not what back goes to, and a crash of what is kept on trial is refused."""
    try_out(device, "new")
    assert f"slot a: {short(device, 'old')}" in model(device, "back").stdout
    assert f"the wanted {short(device, 'new')}" in model(device, "retry").stdout
    crash(device, "new", 3)
    assert f"* slot a  {short(device, 'old')}" in model(device).stdout


def test_what_is_damaged_is_shown(device: Path) -> None:
    """A slot, the wanted bundle and the file of choices are each said to be of no use, with the reason."""
    for path in (device / "state" / "slots" / "a" / MODEL, device / "new" / MODEL, device / "state" / choice.FILE):
        path.write_bytes(b"damaged")
    lines = model(device).stdout.splitlines()
    assert lines[0].startswith("* wanted  cannot be used: ")
    assert "slot a  cannot be used: " in lines[1]
    assert "model.tflite is damaged" in lines[1]
    assert "slots.json cannot be used" in lines[-1]
    assert "each has to prove itself again" in lines[-1]


def test_a_model_that_the_runtime_refuses_is_shown_as_a_start_finds_it(device: Path) -> None:
    """The list tries the wanted model where no start has, and marks the one that judges instead."""
    bundles.write(device / "new", bundles.read(device / "new").manifest, {MODEL: b"no model at all"})
    lines = model(device).stdout.splitlines()
    assert lines[0].startswith(f"  wanted  {short(device, 'new')} cannot be used: litert refuses the model")
    assert lines[1].startswith("* slot a ")


def test_a_model_that_does_not_fit_is_shown_as_a_start_finds_it(device: Path) -> None:
    """Labels that are not its scores, in the wanted bundle, and none for a region, in a slot's, are of no use."""
    new = bundles.read(device / "new")
    surplus = (*new.manifest.labels, bundles.Label(name="surplus", verdict="DEFECT"))
    bundles.write(device / "new", structs.replace(new.manifest, labels=surplus), new.files)
    lines = model(device).stdout.splitlines()
    assert f"the manifest names {len(surplus)} labels" in lines[0]
    assert lines[1].startswith("* slot a ")
    assert start(device, "new").judges == "old"
    want(device, "new", regions=[{"name": "left", "width": 0.5, "labels": {"surplus": "PASS"}}])
    assert "regions: left.labels names 'surplus'" in model(device).stdout.splitlines()[1]


def test_who_goes_back_gets_the_other_model_at_the_next_start(device: Path) -> None:
    """Back leaves the wanted model, on trial or proven, for the other one; back once more returns to it."""
    assert model(device, "back").stdout == (
        f"the next start judges with slot a: {short(device, 'old')}; restart the daemon to have it now\n"
    )
    started = start(device, "new")
    assert started.judges == "old"
    assert "was left by edge-inspect model back; the model 'old'" in started.slots.trouble
    assert f"the wanted {short(device, 'new')}" in model(device, "back").stdout
    assert start(device, "new").judges == "new"


def test_what_was_refused_gets_a_new_trial(device: Path) -> None:
    """After retry the wanted model judges, and has all its starts again."""
    crash(device, "new", 4)
    assert model(device, "retry").returncode == 0
    for _ in range(3):
        assert start(device, "new").judges == "new"
    assert start(device, "new").judges == "old"


def test_a_retry_forgets_starts_too(tmp_path: Path) -> None:
    """A first model, which there is no other for, is told anew that its starts are in vain."""
    made = make_bundle(tmp_path, "new")
    crash(tmp_path, "new", 4)
    assert model(tmp_path, "retry").returncode == 0
    assert starts.in_vain(tmp_path / "state", made.sha256) == 0


def test_a_retry_gives_a_trial_to_what_no_start_has_refused_yet(device: Path) -> None:
    """After the third start in vain, before any other start, the next one has the new model again."""
    crash(device, "new", 3)
    assert f"judges with the wanted {short(device, 'new')}" in model(device, "retry").stdout
    assert start(device, "new").judges == "new"


def test_what_cannot_be_chosen_is_one_line(device: Path, tmp_path: Path) -> None:
    """Nothing to go back to, nothing to retry, no daemon that has run, one that is choosing: each is told."""
    assert_one_clear_line(model(device, "retry"), ConfigError.exit_code, "nothing to retry")
    with choice.locked(device / "state"):
        assert_one_clear_line(model(device, "back"), ConfigError.exit_code, "try again in a moment")
    shutil.rmtree(device / "state" / "slots" / "a")
    assert_one_clear_line(model(device, "back"), ConfigError.exit_code, "no other model to go back to")
    (device / "new" / MODEL).write_bytes(b"damaged")
    assert_one_clear_line(model(device, "back"), ConfigError.exit_code, "model.tflite is damaged", "push another")
    (tmp_path / "fresh").mkdir()
    want(tmp_path / "fresh", "new")
    assert_one_clear_line(model(tmp_path / "fresh"), ConfigError.exit_code, "has the daemon run")


def test_what_root_chooses_the_daemon_can_choose_anew(device: Path) -> None:
    """The file and the folder of slots belong to the daemon's user afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root is another user than the daemon")
    os.chown(device / "state", NOBODY, NOBODY)
    assert model(device, "back").returncode == 0
    for name in (choice.FILE, choice.FOLDER):
        assert (device / "state" / name).stat().st_uid == NOBODY
