"""`edge-train compile` as a user runs it. The compiler, docker and podman are stand-ins: tests/standin_*.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ai_edge_litert import schema_py_generated as schema
from compile_bench import Bench, digest, is_gone, join_ssh, make_bench, started
from rigs import start_sshd
from tiny_parts import run

from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs import Sshd


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench of its own for each test."""
    return make_bench(tmp_path)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd on this machine."""
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait(10)


@pytest.fixture
def remote(bench: Bench, sshd: Sshd) -> None:
    """The real ssh, to hosts `x86` and `closed`."""
    join_ssh(bench, sshd)


def test_a_bundle_gains_the_model_its_log_and_the_mapping(bench: Bench) -> None:
    """The compiled model stands in the manifest; model, metrics and every earlier entry of the report are kept."""
    before = bundles.read(bench.bundle)
    result = bench.compile()
    assert result.returncode == 0, result.stderr
    assert "42 of 42 operators run on the Edge TPU (compiler 16.0.384591198" in result.stdout
    assert "CONV_2D" in result.stdout
    after = bundles.read(bench.bundle)
    assert after.model == before.model
    assert after.manifest.metrics == before.manifest.metrics
    assert bundles.EDGE_TPU_MODEL in after.manifest.files
    assert b"Mapped to Edge TPU" in after.files["model_edgetpu.log"]
    assert str(bench.scratch).encode() not in after.files["model_edgetpu.log"]
    report = json.loads(after.files["report.json"])
    assert report.pop("edge_tpu")["mapped"] == 42
    assert report == json.loads(before.files["report.json"])
    assert b"<h2>On the Edge TPU</h2>" in after.files["report.html"]
    assert bench.left() == []


PLACES = ["edgetpu_compiler", "docker:coral", "podman:coral", "ssh:x86"]


@pytest.mark.parametrize("place", PLACES[1:])
def test_it_compiles_elsewhere(bench: Bench, place: str, request: pytest.FixtureRequest) -> None:
    """In a container and over ssh the same files come back, into a zip, and nothing is left there."""
    if place.startswith("ssh"):
        request.getfixturevalue("remote")
    before, out = digest(bench.bundle), bench.bundle.with_name("out.zip")
    result = bench.compile("--compiler", place, "--out", out)
    assert result.returncode == 0, result.stderr
    assert bundles.EDGE_TPU_MODEL in bundles.read(out).manifest.files
    assert digest(bench.bundle) == before
    assert bench.left() == []
    assert not Path("x").exists()


def test_an_abort_is_tried_again_and_told(bench: Bench) -> None:
    """A compiler that aborts and then succeeds on the same file gives a bundle, which says it took two tries."""
    result = bench.compile(behaviour="abort-once")
    assert result.returncode == 0, result.stderr
    assert "Internal compiler error" in result.stderr
    assert "trying again, 2 of 3" in result.stderr
    assert json.loads(bundles.read(bench.bundle).files["report.json"])["edge_tpu"]["tries"] == 2


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("split", "part of the model would run on the CPU: 1 SOFTMAX (More than one subgraph is not supported); 2"),
        ("nothing", "mapped nothing to the Edge TPU: 4 PAD (Filter, bias"),
        ("no-file", "left no model_edgetpu.tflite"),
        ("torn", "the compiler's model_edgetpu.tflite is no sound TFLite model"),
        ("other-input", "takes and gives int8 [1, 128, 128, 3] (0.00392157, 0)"),
        ("no-custom-op", "has no operator edgetpu-custom-op"),
        ("abort", "failed 3 times: Internal compiler error. Aborting!"),
        ("dead-child", "failed 3 times: Compilation failed!"),
        ("not-quantized", "refuses the model: Invalid model: model.tflite Model not quantized"),
        ("large", "Compilation failed due to large activation tensors in model."),
        ("slow", "Compilation timeout. This is usually caused by large activations., exit code 1; give it longer"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(bench: Bench, behaviour: str, message: str) -> None:
    """What the compiler refuses, leaves on the CPU or spoils is a BundleError; the bundle stays as it was."""
    before = digest(bench.bundle)
    result = bench.compile(behaviour=behaviour)
    assert result.returncode == BundleError.exit_code, result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert digest(bench.bundle) == before
    assert bench.left() == []


def test_operators_on_the_cpu_can_be_allowed(bench: Bench) -> None:
    """With --allow-cpu the model is taken, and the reports name what runs where and why."""
    result = bench.compile("--allow-cpu", behaviour="split")
    assert result.returncode == 0, result.stderr
    assert "42 of 46 operators run on the Edge TPU" in result.stdout
    assert b"<th>SOFTMAX</th><td>1</td><td>More than one" in bundles.read(bench.bundle).files["report.html"]


def test_a_compiler_that_hangs_is_ended(bench: Bench) -> None:
    """Past its time limit the compiler is killed, deaf or not, with one line that tells of --timeout."""
    result = bench.compile("--timeout", 1, behaviour="hang")
    assert result.returncode == RuntimeUnavailableError.exit_code
    assert "did not end within 1 s; give it longer with --timeout" in result.stderr.splitlines()[-1]
    assert is_gone(int(bench.state.read_text("ascii")))
    assert bench.left() == []


@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c_ends_the_compiler_and_leaves_nothing(bench: Bench, place: str, request: pytest.FixtureRequest) -> None:
    """An interrupt ends the child wherever it runs, removes its files and its container, and keeps the bundle."""
    if place.startswith("ssh"):
        request.getfixturevalue("remote")
    before = digest(bench.bundle)
    process = subprocess.Popen(
        [sys.executable, "-m", "training", "compile", bench.bundle, "--compiler", place],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **bench.environment("hang")},
    )
    child = started(bench)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "edge-train: interrupted"
    assert is_gone(child)
    assert bench.left() == []
    assert digest(bench.bundle) == before
    if place.startswith(("docker", "podman")):
        assert bench.state.with_suffix(".removed").read_text("ascii").startswith("edge-train-compile-")


def test_without_a_compiler_the_findings_come_first_and_then_how_to_get_one(bench: Bench) -> None:
    """On a machine without the compiler the check of the model still runs; the error says where the compiler is."""
    bundle = bundles.read(bench.bundle)
    content = schema.Model.GetRootAsModel(bundle.model, 0)
    model = bytearray(bundle.model)
    for field in (0, 3):  # deprecated_builtin_code and builtin_code of MEAN, the fourth.
        table = content.OperatorCodes(3)._tab
        if offset := table.Offset(4 + 2 * field):
            model[table.Pos + offset] = schema.BuiltinOperator.HARD_SWISH
    bundles.write(bench.bundle, bundle.manifest, {**bundle.files, "model.tflite": bytes(model)})
    result = bench.compile("--compiler", "no-such-compiler")
    assert result.returncode == RuntimeUnavailableError.exit_code
    *findings, last = result.stderr.splitlines()
    assert [line for line in findings if "HARD_SWISH" in line]
    assert "no-such-compiler: no such program; install Google's apt package edgetpu-compiler" in last


def test_an_image_that_is_not_there_is_named(bench: Bench) -> None:
    """What docker itself says is no fault of the model."""
    result = bench.compile("--compiler", "docker:missing")
    assert result.returncode == RuntimeUnavailableError.exit_code
    assert (
        "docker:missing cannot run edgetpu_compiler: Unable to find image 'missing'" in result.stderr.splitlines()[-1]
    )


@pytest.mark.usefixtures("remote")
def test_a_host_that_cannot_be_used_is_named(bench: Bench) -> None:
    """A host that refuses connections, and one without the compiler, are no fault of the model."""
    result = bench.compile("--compiler", "ssh:closed")
    assert result.returncode == RuntimeUnavailableError.exit_code
    assert "ssh:closed cannot run edgetpu_compiler: ssh: connect to host" in result.stderr.splitlines()[-1]
    (bench.programs / "edgetpu_compiler").unlink()
    result = bench.compile("--compiler", "ssh:x86")
    assert result.returncode == RuntimeUnavailableError.exit_code
    assert "ssh:x86 cannot run edgetpu_compiler: timeout: failed to run command" in result.stderr.splitlines()[-1]
    assert bench.left() == []


def test_a_signed_bundle_is_signed_again_or_left_alone(bench: Bench, tmp_path: Path) -> None:
    """Without its key, or with another, a signed bundle stays as it is; with its key the new one is signed."""
    keys = {name: tmp_path / f"{name}.pem" for name in ("ours", "other")}
    public = {name: run("keygen", "--out", key).stdout.strip() for name, key in keys.items()}
    assert bench.compile("--key", keys["ours"]).returncode == 0
    assert bundles.read(bench.bundle, trusted_keys=[public["ours"]])
    before = digest(bench.bundle)
    for arguments, message in (
        ((), "is signed, and its signature does not cover what compiling adds; give the key"),
        (("--key", keys["other"]), "manifest.sig is not by any of trusted_keys"),
    ):
        result = bench.compile(*arguments)
        assert result.returncode == BundleError.exit_code
        assert message in result.stderr
        assert digest(bench.bundle) == before
    assert bench.compile("--key", keys["ours"]).returncode == 0
    assert bundles.read(bench.bundle, trusted_keys=[public["ours"]])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--compiler", "ssh:-oProxyCommand=x"), ConfigError.exit_code, "no host; say ssh:HOST"),
        (("--compiler", "docker:"), ConfigError.exit_code, "no name of an image"),
        (("--key", "gone.pem"), ConfigError.exit_code, "make one with edge-train keygen"),
        (("--timeout", "0"), 2, "not a number of seconds"),
        (("--timeout", "1e3"), 2, "not a number of seconds"),
        (("--out", "/etc"), BundleError.exit_code, "exists and is not a bundle"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(
    bench: Bench, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Each mistake ends before anything is run."""
    result = bench.compile(*arguments)
    assert result.returncode == code
    assert message in result.stderr.splitlines()[-1]
