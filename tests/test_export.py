from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import msgspec
import pytest
from tiny_parts import make_folder, read_folder

from edge.contract import bundle as bundles
from edge.errors import BundleError, RuntimeUnavailableError
from training import backend
from training.build import _draft
from training.int8 import export, flatbuffer, qat
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
    return export.Held(pictures=pictures, logits=logits, draft=draft)


def test_a_friendly_network_is_quantized_as_it_is(network: Any, data: Dataset, pictures: Dataset) -> None:
    """Where no class loses anything, the first model is the one, judged through the device's classifier."""
    found = export.export(network, data, held(network, pictures), Recipe(), seed=1)
    assert found.refused is None
    assert found.gates["litert"].passed
    assert found.plain()["retrained"] is False
    assert [row.pictures for row in found.gates["litert"].classes] == [40, 40, 40]


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
    assert "too much" in capfd.readouterr().err
    assert found.refused is not None
    assert not found.refused["litert"].passed
    assert found.gates["litert"].passed
    assert found.plain()["retrained"] is True
    assert flatbuffer.inspect(found.model) == []
