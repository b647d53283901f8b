from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import standin_edgetpu_compiler as standin
from conftest import DEMO_BUNDLE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, RuntimeUnavailableError
from training.int8 import edgetpu, edgetpu_log, edgetpu_plan, edgetpu_report, metadata
from training.int8.edgetpu_log import Failure, Mapping, Row
from training.int8.edgetpu_plan import Container, Local, Remote

MODEL = bundles.read(DEMO_BUNDLE).model
WHOLE, SPLIT = standin.success(standin.WHOLE), standin.success(standin.SPLIT)
OLDER = WHOLE.replace("16.0.384591198", "14.1.317412892").replace(standin.COMPLETED + "\nCompilation succeeded! \n", "")
PLAN: dict[str, Any] = {"folder": "/scratch/x", "token": "0123abcd", "seconds": 180, "user": (1000, 1001)}


def test_a_whole_mapping_is_read_as_printed() -> None:
    """Version, memory and every row of version 16's output come back; it prints no counts for a whole mapping."""
    found = edgetpu_log.parse(WHOLE)
    assert found.compiler == "16.0.384591198"
    assert found.subgraphs == 1
    assert found.rows[2] == Row(operator="CONV_2D", count=36, status="Mapped to Edge TPU")
    assert found.memory == {"on_chip_used": "595.00KiB", "on_chip_left": "7.09MiB", "off_chip_streamed": "0.00B"}
    assert (found.operators, found.on_cpu) == (42, ())
    assert edgetpu_log.parse(OLDER).compiler == "14.1.317412892"


def test_operators_left_on_the_cpu_keep_their_reasons() -> None:
    """Rows that do not run on the Edge TPU are counted apart, each with the compiler's own words."""
    found = edgetpu_log.parse(SPLIT)
    assert [(row.operator, row.count) for row in found.on_cpu] == [("SOFTMAX", 1), ("RESHAPE", 2), ("PACK", 1)]
    assert found.on_cpu[0].status == "More than one subgraph is not supported"
    assert (found.plain()["mapped"], found.plain()["on_cpu"]) == (42, 4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Model compiled successfully in 1072 ms.", "Model compiled successfully", "0 lines tell of success"),
        ("Number of Edge TPU subgraphs: 1", "", "0 lines tell of its subgraphs"),
        ("Number of Edge TPU subgraphs: 1", "Number of Edge TPU subgraphs: \u0661", "0 lines tell of its subgraphs"),
        ("Total number of operations: 46", "Total number of operations: 45", "counts 45 operators where its table has"),
        ("run on CPU: 4", "run on CPU: 5", "counts 5 operators"),
        ("Count      Status", "Count      Place", "0 tables"),
        ("PACK  ", "Pack?  ", "'Pack?"),
        (standin.VERSION, f"{standin.VERSION}\n{standin.VERSION}", "2 lines tell of its version"),
    ],
)
def test_output_of_another_form_is_not_guessed_at(old: str, new: str, message: str) -> None:
    """A line that is missing, doubled, reworded or at odds with the table is an error that names it."""
    assert old in SPLIT
    with pytest.raises(BundleError, match=message.replace("?", r"\?")):
        edgetpu_log.parse(SPLIT.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said", "passes"),
    [
        (standin.failed("Invalid model: model.tflite", "Model not quantized"), "Model not quantized", False),
        (standin.failed("Compilation failed: Model failed in Tflite interpreter."), "in Tflite interpreter.", False),
        (standin.failed("Compilation timeout. This is usually caused by large activations."), "timeout", False),
        (standin.failed("ERROR: :1 Model could not be mapped", "Model could not be mapped"), "be mapped", False),
        (f"{standin.VERSION}\n\nInternal compiler error. Aborting! \n", "Internal compiler error. Aborting!", True),
        (standin.failed(), "Compilation failed!", True),
        (standin.failed("libc++abi: terminating with uncaught exception of type x"), "uncaught exception", True),
        ("Segmentation fault", "Segmentation fault", False),
        ("Invalid model: a.tflite", "Invalid model: a.tflite", False),
        ("", "nothing at all", False),
    ],
)
def test_a_failure_has_its_reason_and_only_an_abort_is_tried_again(text: str, said: str, *, passes: bool) -> None:
    """What the compiler found wrong with a model will not change; what it fell over may."""
    found = edgetpu_log.failure(text)
    assert said in found.said
    assert found.passes == passes


LINES = st.sampled_from([*SPLIT.splitlines(), *WHOLE.splitlines(), *standin.failed("Invalid model: x").splitlines()])
TEXTS = st.one_of(st.text(), st.lists(st.one_of(LINES, st.text(max_size=40)), max_size=60).map("\n".join))


@given(text=TEXTS, code=st.integers(-20, 300), allow_cpu=st.booleans())
def test_any_output_ends_in_a_mapping_a_failure_or_a_typed_error(text: str, code: int, *, allow_cpu: bool) -> None:
    """Nothing that a compiler prints, whatever its exit code, ends in anything else."""
    try:
        found = edgetpu.judge(code, text, "edgetpu_compiler", allow_cpu=allow_cpu)
    except (BundleError, RuntimeUnavailableError):
        return
    assert isinstance(found, Failure | Mapping)
    assert code == 0 or isinstance(found, Failure)


@settings(max_examples=200)
@given(st.permutations(range(len(SPLIT.splitlines()))), st.integers(0, 40))
def test_success_is_believed_only_with_all_its_lines(order: list[int], kept: int) -> None:
    """Of the lines of a success, in any order, no part is taken for a mapping that contradicts the whole."""
    lines = SPLIT.splitlines()
    try:
        found = edgetpu_log.parse("\n".join(lines[number] for number in order[:kept]))
    except BundleError:
        return
    assert (found.subgraphs, found.operators) == (1, 46)


def test_an_exit_code_tells_an_absent_compiler_from_a_failing_one() -> None:
    """255 is ssh's own only if the compiler has not spoken, and a death by signal may pass whatever was said."""
    with pytest.raises(RuntimeUnavailableError, match="ssh:host cannot run edgetpu_compiler: Permission denied"):
        edgetpu.judge(255, "Permission denied", "ssh:host", allow_cpu=False)
    found = edgetpu.judge(255, standin.failed("Invalid model: x"), "ssh:host", allow_cpu=False)
    assert isinstance(found, Failure)
    assert not found.passes
    for code in (-6, 134):
        died = edgetpu.judge(code, standin.VERSION, "x", allow_cpu=False)
        assert isinstance(died, Failure)
        assert died.passes
    assert isinstance(edgetpu.judge(1, WHOLE, "x", allow_cpu=False), Failure)


def test_the_compiled_model_must_have_the_same_ends_and_an_edge_tpu_operator() -> None:
    """A sound result passes; another input, a copy of the model and a torn file do not."""
    edgetpu.check(MODEL, standin.compiled(MODEL))
    for wrong, message in (
        (standin.other_input(MODEL), "takes and gives"),
        (MODEL, "has no operator edgetpu-custom-op"),
        (standin.compiled(MODEL, b"another-op"), "has no operator edgetpu-custom-op"),
        (standin.compiled(MODEL)[:5000], "no sound TFLite model"),
    ):
        with pytest.raises(BundleError, match=message):
            edgetpu.check(MODEL, wrong)


def test_metadata_behind_the_model_is_no_hindrance() -> None:
    """A model that carries TFLite Metadata is compared with its compiled form like any other."""
    described = metadata.add(MODEL, bundles.read(DEMO_BUNDLE).manifest)
    edgetpu.check(described, standin.compiled(described))


COMPILED = standin.compiled(MODEL)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_result_ends_in_a_typed_error_or_passes(changes: list[tuple[int, int]]) -> None:
    """Whatever bytes come back from the compiler, the check says yes or raises BundleError."""
    damaged = bytearray(COMPILED)
    for place, value in changes:
        damaged[-1 - place] = value
    said = ""
    try:
        edgetpu.check(MODEL, bytes(damaged))
    except BundleError as error:
        said = str(error)
    assert "\n" not in said


def test_the_program_is_run_with_the_options_of_version_16() -> None:
    """Show operations, the time limit, the folder, the model: and nothing of the bundle's path."""
    made = edgetpu_plan.plan(Local("/opt/edgetpu_compiler"), **PLAN)
    assert shlex.join(made.command) == "/opt/edgetpu_compiler -s -t 180 -o . model.tflite"
    assert not made.cleanup


def test_a_container_has_the_folder_and_the_users_name_but_no_network() -> None:
    """Docker runs as this user; podman maps this user, but not root; both can be removed by name."""
    made = edgetpu_plan.plan(Container("docker", "/usr/bin/docker", "tpu:16"), **PLAN)
    assert shlex.join(made.command) == (
        "/usr/bin/docker run --rm --network=none --platform=linux/amd64 --user=1000:1001 "
        "--name=edge-train-compile-0123abcd --volume=/scratch/x:/work:Z --workdir=/work "
        "--entrypoint=edgetpu_compiler tpu:16 -s -t 180 -o . model.tflite"
    )
    assert shlex.join(made.cleanup) == "/usr/bin/docker rm --force edge-train-compile-0123abcd"
    podman = edgetpu_plan.plan(Container("podman", "podman", "tpu"), **PLAN).command
    assert "--userns=keep-id" in podman
    root = edgetpu_plan.plan(Container("podman", "podman", "tpu"), **PLAN | {"user": (0, 0)}).command
    assert not [option for option in root if option.startswith(("--user", "--userns"))]


def test_ssh_asks_no_questions_and_ends_its_options_before_the_host() -> None:
    """BatchMode, a limit to connect, and the host after --."""
    made = edgetpu_plan.plan(Remote("ssh", "build@x86"), **PLAN)
    assert made.streams
    assert made.command[:-1] == ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", "build@x86")
    assert "/tmp/edge-train-compile-0123abcd" in made.command[-1]  # noqa: S108 - the name is what is tested
    assert "/scratch" not in made.command[-1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("edgetpu_compiler", Local("edgetpu_compiler")),
        ("C:/x", Local("C:/x")),
        ("docker:coral/tpu:16", Container("docker", "docker", "coral/tpu:16")),
        ("podman:localhost/tpu@sha256:ab", Container("podman", "podman", "localhost/tpu@sha256:ab")),
        ("ssh:build@10.0.0.2", Remote("ssh", "build@10.0.0.2")),
    ],
)
def test_the_compilers_place_is_read(text: str, found: object) -> None:
    """A path or a name, an image, a host."""
    assert edgetpu_plan.parse(text) == found


@pytest.mark.parametrize(
    "text", ["", "docker:", "docker:-v/:/x", "podman:a b", "ssh:", "ssh:-oProxyCommand=x", "ssh:a;b"]
)
def test_a_place_that_would_be_an_option_or_a_shells_command_is_refused(text: str) -> None:
    """Nothing that ssh, docker or a shell would read as anything but a name gets as far as a command line."""
    with pytest.raises(ConfigError, match="--compiler"):
        edgetpu_plan.parse(text)


def made(mapping: Mapping) -> edgetpu.Compiled:
    """A result with this mapping."""
    return edgetpu.Compiled(model=b"model", mapping=mapping, log="log", tries=1)


def test_reports_gain_a_section_and_keep_the_rest() -> None:
    """Every entry and every byte of the page stays; compiling again replaces the section."""
    files = {
        "report.json": b'{"metrics": {"a": 0.5}, "test": [{"f": 1}, {"f": 2}]}',
        "report.html": b"<p>x</p></html>\n",
    }
    first = edgetpu_report.added(files, made(edgetpu_log.parse(SPLIT)))
    report = json.loads(first["report.json"])
    assert report.pop("edge_tpu")["on_cpu"] == 4
    assert report == json.loads(files["report.json"])
    assert first["report.html"].startswith(b"<p>x</p><!-- edge-tpu --><h2>")
    assert first["report.html"].endswith(b"<!-- /edge-tpu -->\n</html>\n")
    assert b"not measured" in first["report.html"]
    second = edgetpu_report.added(first, made(edgetpu_log.parse(WHOLE)))
    assert json.loads(second["report.json"])["edge_tpu"]["on_cpu"] == 0
    assert second["report.html"].count(b"<h2>") == 1
    assert b"SOFTMAX" not in second["report.html"]


def test_a_strangers_words_are_text_in_the_page() -> None:
    """Markup in the compiler's output is shown, not obeyed."""
    text = SPLIT.replace("More than one subgraph is not supported", "<script>alert(1)</script>")
    page = edgetpu_report.added({}, made(edgetpu_log.parse(text)))["report.html"]
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page


@given(
    st.one_of(st.binary(max_size=80), st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode))
)
@example(b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"a": NaN, "a": 1e999}')
@example(b"<p></p></body>\n</html>")
def test_any_report_is_added_to_or_refused(raw: bytes) -> None:
    """A report of any bytes ends in a report or BundleError."""
    mapping = edgetpu_log.parse(WHOLE)
    for name in ("report.json", "report.html"):
        try:
            found = edgetpu_report.added({name: raw}, made(mapping))
        except BundleError:
            continue
        assert json.loads(found["report.json"])["edge_tpu"]["mapped"] == 42
