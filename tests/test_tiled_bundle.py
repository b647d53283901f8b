"""A bundle with tiles and another pooling, through the commands that a device runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_samples import MANIFEST
from device import assert_one_clear_line, end, run_inspect, running_daemon, write_config
from PIL import Image
from recorder import Recorder
from tiny_models import patch_model

from edge import runtime
from edge.contract import bundle as bundles
from edge.contract.pooling import LogSumExp, TopK
from edge.contract.preprocess import PreprocessSpec, Tiles
from edge.decision import decide
from edge.sections.runtime import Runtime
from edge.synthetic import render

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

    from edge.contract.preprocess import Pixels

SHARPNESS = 2.0
SIZE = 224
"""Pixels a side of the canvas, and of the picture: four tiles of 128 that begin 96 apart."""


@pytest.fixture(scope="module")
def tiled(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model in a bundle that asks for 2x2 tiles and log-sum-exp."""
    demo = bundles.read(demo_bundle)
    spec = PreprocessSpec(mode="squash", tiles=Tiles(rows=2, columns=2))
    manifest = msgspec.structs.replace(
        demo.manifest, preprocess=spec, pooling=LogSumExp(sharpness=SHARPNESS), temperature=1.5
    )
    path = tmp_path_factory.mktemp("tiled") / "bundle"
    bundles.write(path, manifest, {bundles.MODEL: demo.model})
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A damaged insert in a folder of its own."""
    path = tmp_path_factory.mktemp("pictures") / "part.png"
    Image.fromarray(render(7, 3, height=SIZE, width=SIZE, label="crack").pixels).save(path)
    return path


def scores_by_hand(bundle: bundles.Bundle, canvas: Pixels) -> list[float]:
    """Four runs of the bare model, the formula and the softmax as a textbook writes them."""
    bare = runtime.open_interpreter(bundle.model, Runtime()).interpreter
    places = bare.get_output_details()[1]
    scale, zero_point = places["quantization"]
    seen = []
    for top, left in ((0, 0), (0, 96), (96, 0), (96, 96)):
        tile = canvas[top : top + 128, left : left + 128].astype(np.int16) - 128
        bare.set_tensor(bare.get_input_details()[0]["index"], tile.astype(np.int8)[np.newaxis])
        bare.invoke()
        seen.append(scale * (bare.get_tensor(places["index"]).astype(float) - zero_point).reshape(16, -1))
    logits = np.log(np.exp(SHARPNESS * np.concatenate(seen)).mean(axis=0)) / SHARPNESS
    shares = np.exp(logits / bundle.manifest.temperature)
    scores: list[float] = (shares / shares.sum()).tolist()
    return scores


def test_once_judges_a_picture_by_its_tiles(tiled: Path, picture: Path) -> None:
    """The command's line for a picture holds the scores and the verdict that four runs by hand give."""
    bundle = bundles.read(tiled)
    expected = scores_by_hand(bundle, np.asarray(Image.open(picture)))
    decision = decide(expected, bundle.manifest.labels, bundle.manifest.thresholds)
    done = run_inspect("once", "--bundle", tiled, picture)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert (line["verdict"], line["label"]) == (decision.verdict, decision.label)
    assert list(line["scores"].values()) == pytest.approx(expected, abs=1e-5)


def test_the_daemon_judges_a_picture_by_its_tiles(tmp_path: Path, broker: Broker, tiled: Path, picture: Path) -> None:
    """The event that a broker gets for a picture holds the scores and the verdict that four runs by hand give."""
    bundle = bundles.read(tiled)
    expected = scores_by_hand(bundle, np.asarray(Image.open(picture)))
    decision = decide(expected, bundle.manifest.labels, bundle.manifest.thresholds)
    camera = {"kind": "folder", "path": str(picture.parent)}
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=tiled, camera=camera, mqtt=mqtt)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        log = end(daemon)
        assert daemon.returncode == 0, log
        recorder.wait_for_status("offline")
    (event,) = recorder.named("event")
    assert (event["source"], event["verdict"], event["label"]) == ("part.png", decision.verdict, decision.label)
    assert [event["scores"][label.name] for label in bundle.manifest.labels] == pytest.approx(expected, abs=1e-5)
    assert event["latency_ms"]["invoke"] > 0


def test_a_bundle_that_asks_too_much_of_its_model_is_one_line(tmp_path: Path, picture: Path) -> None:
    """A pooling without a logit map ends the command with the bundle's exit code and the remedy, no traceback."""
    manifest = msgspec.structs.replace(MANIFEST, pooling=TopK())
    bundles.write(tmp_path / "bundle", manifest, {bundles.MODEL: patch_model(64, 96, 32, outputs=1)})
    done = run_inspect("once", "--bundle", tmp_path / "bundle", picture)
    assert_one_clear_line(done, 4, "no logit map for pooling 'top-k'", "rebuild it with edge-train build")
