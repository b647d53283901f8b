from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import msgspec
import numpy as np
import pytest
from tiny_parts import make_folder, read_folder

from edge.contract import bundle as bundles
from edge.contract.bundle import Label
from edge.errors import BundleError, RuntimeUnavailableError
from training import backend
from training.build import _draft
from training.data import dataset
from training.int8 import export, flatbuffer, gate, operators, qat
from training.int8.engines import Engines
from training.recipe import Recipe

if TYPE_CHECKING:
    from edge.contract.bundle import Bundle
    from training.data.dataset import Dataset

DEMO = Path(__file__).resolve().parent.parent / "edge/demo_bundle"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to train with."""
    backend.start(1)
    return read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=40))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to compare on."""
    return read_folder(make_folder(tmp_path_factory.mktemp("held"), each=40, start=1000))


@pytest.fixture(scope="module")
def network(data: Dataset) -> Any:
    """A small trained network, friendly to int8 until a test spoils it."""
    made = hostile.build(32, 3)
    hostile.train(made, data)
    return made


def held(network: Any, pictures: Dataset) -> export.Held:
    """Return what the models are compared on, as build passes it."""
    from training.network.model import normalise

    manifest = msgspec.structs.replace(bundles.read(DEMO).manifest, labels=pictures.labels)

    def draft(model: bytes) -> Bundle:
        return _draft(manifest, model)

    logits = network.whole(normalise(pictures.pixels), training=False)["logits"].numpy()
    return export.Held(pictures=pictures, logits=logits, draft=draft, engines=Engines())


def test_a_friendly_network_is_quantized_as_it_is(network: Any, data: Dataset, pictures: Dataset) -> None:
    """Where no class loses anything, the first model is the one, judged through the device's classifier."""
    found = export.export(network, data, held(network, pictures), Recipe(), seed=1)
    assert found.before is None
    assert found.gates["litert"].passed
    assert found.plain()["retrained"] is False
    assert [row.pictures for row in found.gates["litert"].classes] == [40, 40, 40]


def test_parts_and_what_is_left_out_are_passed_on(network: Any, data: Dataset, pictures: Dataset) -> None:
    """The gate counts the parts that it is given, and a runtime that judges nothing is among the warnings."""
    told = "tflite-runtime runs no model."
    given = replace(
        held(network, pictures), part=np.arange(len(pictures.sources)) // 4, engines=Engines(left_out=(told,))
    )
    found = export.export(network, data, given, Recipe(), seed=1)
    assert [row.parts for row in found.gates["litert"].classes] == [10, 10, 10]
    assert list(found.gates) == ["litert"]
    assert told in found.warnings


def doubted(network: Any, pictures: Dataset) -> export.Held:
    """Return a comparison in which int8 seems to lose three pictures of 43, put under another label."""
    rows = np.flatnonzero(pictures.truth == 0)[:3]
    sources = [
        dataset.Source(one.name, 1 if row in rows else one.label, one.load) for row, one in enumerate(pictures.sources)
    ]
    moved = dataset.Dataset(
        labels=pictures.labels, sources=tuple(sources), pixels=pictures.pixels, digests=pictures.digests
    )
    logits = 10 * np.eye(len(pictures.labels), dtype=np.float32)[moved.truth]
    return replace(held(network, pictures), pictures=moved, logits=logits)


def test_a_large_loss_that_may_be_chance_is_not_silent(
    network: Any, data: Dataset, pictures: Dataset, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses nothing, but retraining is tried; where it cannot be, counts and the reason are among the warnings."""
    monkeypatch.setattr(qat, "_PACKAGES", ("no_such_package",))
    found = export.export(network, data, doubted(network, pictures), Recipe(), seed=1)
    assert found.passed
    name = pictures.labels[1].name
    assert any(
        one.startswith(f"int8 may cost {name} recall") and "3 of 43 pictures lost and 0 gained" in one
        for one in found.warnings
    )
    assert any(one.startswith("It was not retrained for that: ") and "pip install" in one for one in found.warnings)
    assert found.plain()["attempt"] == found.attempt
    assert "int8 may cost much" in capfd.readouterr().err


def made(right: int, name: bytes) -> export.Exported:
    """Return a model that gets so many of 50 pictures right, all of which the float one does."""
    truth = np.zeros(50, np.int64)
    said = [10 * np.eye(2, dtype=np.float32)[(np.arange(50) >= count).astype(int)] for count in (50, right)]
    labels = [Label(name=one, verdict="DEFECT") for one in "ab"]
    return export.Exported(model=name, gates={"litert": gate.compare(truth, *said, labels)})


@pytest.mark.parametrize(("again", "kept"), [(50, b"second"), (48, b"second"), (47, b"first"), (40, b"first")])
def test_the_better_of_both_is_kept(again: int, kept: bytes) -> None:
    """The retrained model needs more mean recall than the plain one, which stays if they are equal; both are told."""
    first = made(47, b"first")
    found = export._better(first, lambda: replace(made(again, b"second"), before=first.gates))
    assert found.model == kept
    assert found.candidates == 2
    assert first.candidates == 1
    assert found.plain()["retrained"] == (kept == b"second")
    assert found.attempt is not None
    assert "94.0%" in found.attempt
    assert found.attempt in found.warnings
    assert not any("too much" in one for one in found.warnings)


def test_retraining_that_memory_does_not_hold_costs_no_model() -> None:
    """What passed before is kept, and the report says why it was left at that."""

    def retrained() -> export.Exported:
        np.empty(1 << 60, np.uint8)
        raise AssertionError("there is room")

    found = export._better(made(47, b"first"), retrained)
    assert found.model == b"first"
    assert str(found.attempt).startswith("It was not retrained for that: not enough memory (Unable to allocate")


def test_what_keeps_a_model_off_the_edge_tpu_is_told_once(
    network: Any, data: Dataset, pictures: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every finding stands in report.json, and one warning names the command to ask; sound models have none."""
    sound = export.export(network, data, held(network, pictures), Recipe(), seed=1)
    assert sound.plain()["edge_tpu"] == sound.warnings == []
    monkeypatch.setitem(operators.EDGE_TPU, "ADD", replace(operators.EDGE_TPU["ADD"], newest=0))
    found = export.export(network, data, held(network, pictures), Recipe(), seed=1)
    assert found.plain()["edge_tpu"] == [str(one) for one in flatbuffer.inspect(found.model)] != []
    assert ["edge-train compile" in one for one in found.warnings] == [True]


def test_a_hostile_network_is_retrained_without_being_asked(
    network: Any, data: Dataset, pictures: Dataset, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, it is retrained, which is said, and what comes out passes; without the packages the error says both."""
    hostile.spoil(network)
    before = held(network, pictures)
    with monkeypatch.context() as patch:
        patch.setattr(qat, "_PACKAGES", ("no_such_package",))
        with pytest.raises(BundleError, match=r"not retrained: .* pip install 'edge-inspect\[qat\]'\) costs \w"):
            export.export(network, data, before, Recipe(), seed=1)
    try:
        qat.require()
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))
    found = export.export(network, data, before, Recipe(), seed=1)
    told = capfd.readouterr().err
    assert "too much" in told
    assert "verdict" in told
    assert found.before is not None
    assert not found.before["litert"].passed
    assert found.warnings[0].startswith("At first int8 cost too much recall (")
    assert found.gates["litert"].passed
    assert found.plain()["retrained"] is True
    assert flatbuffer.inspect(found.model) == []
