"""A real worker process with a stand-in for the Edge TPU's library that crashes, hangs and lies: frames are judged."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from accelerators import FRAME, PATIENCE, WARMING, bundle, children, descriptors, engine, line, wait_until_it_judges
from tiny_models import patch_model

from edge.accelerator.accelerated import Accelerated, job_for
from edge.accelerator.plan import Step
from edge.classifier import Classifier
from edge.contract.bundle import EDGE_TPU_MODEL
from edge.errors import AcceleratorError, BundleError
from edge.golden import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from accelerators import Standin

    from edge.classifier import Floats
    from edge.contract.bundle import Bundle

    Fault = tuple[str, str]
    """How the library behaves, and what is said of it."""


@pytest.fixture(scope="module")
def parts() -> Bundle:
    """A bundle that has a model for it."""
    return bundle()


@pytest.fixture(scope="module")
def expected(parts: Bundle) -> Floats:
    """The scores of FRAME by the CPU alone."""
    return Classifier(parts).classify(FRAME).scores


@pytest.fixture
def opened(parts: Bundle, standin: Standin) -> Iterator[Callable[..., Classifier]]:
    """Opens lines, and closes them."""
    made: list[Classifier] = []

    def opener(**limits: float) -> Classifier:
        made.append(line(parts, standin.settings(), **limits))
        return made[-1]

    yield opener
    for each in made:
        each.close()
    assert children() == {}


def test_the_accelerator_judges_as_the_cpu_does(opened: Callable[..., Classifier], expected: Floats) -> None:
    """Once its golden frame came out right it answers, with the same scores, heat map and embedding, and counts."""
    judging = opened()
    assert engine(judging).settle(PATIENCE) == ""
    for number in range(1, 4):
        np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
        assert engine(judging).health().invokes == number
    assert engine(judging).health().state == "accelerated"
    alone = Classifier(judging.bundle)
    alone.classify(FRAME)
    np.testing.assert_array_equal(judging.logit_map(), alone.logit_map())
    np.testing.assert_array_equal(judging.embedding(), alone.embedding())


@pytest.mark.parametrize(
    "fault",
    [
        ("no-device", "no Edge TPU answers (Failed to load delegate from"),
        ("crash-load", "the Edge TPU's library died of signal 11 (Segmentation fault)"),
        ("hang-load", "the Edge TPU did not answer within 2000 ms"),
        ("refuse-model", "the Edge TPU refuses the model"),
        ("wrong", "golden frame 0.png: a score is"),
        ("crash-invoke 1", "the Edge TPU's library died of signal 11 (Segmentation fault)"),
        ("crash-invoke 3", "the Edge TPU's library died of signal 11 (Segmentation fault)"),
    ],
    ids=itemgetter(0),
)
def test_what_cannot_be_opened_leaves_judging_to_the_cpu(
    opened: Callable[..., Classifier], standin: Standin, expected: Floats, figure: Callable[[str], None], fault: Fault
) -> None:
    """Whatever goes wrong while it opens, each frame meanwhile is judged at once, and it is back when it can be."""
    how, reason = fault
    standin.behave(how)
    judging = opened(opening=2.0 if how == "hang-load" else 30.0)
    slowest = 0.0
    while not engine(judging)._plan.paused:
        found = judging.classify(FRAME)
        slowest = max(slowest, found.invoke_ms)
        np.testing.assert_array_equal(found.scores, expected)
    figure(f"slowest frame {slowest:.1f} ms while three attempts failed")
    assert reason in engine(judging).trouble
    assert (engine(judging).health().state, engine(judging).health().invokes) == ("cpu", 0)
    standin.behave("works")
    wait_until_it_judges(judging)
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
    assert (engine(judging).trouble, engine(judging).health().invokes) == ("", 1)


def test_a_library_that_is_not_there(parts: Bundle, standin: Standin, expected: Floats) -> None:
    """The reason names the library and the remedy."""
    judging = line(parts, msgspec.structs.replace(standin.settings(), library="libnowhere.so.9"))
    trouble = engine(judging).settle(PATIENCE)
    assert "libnowhere.so.9 does not load (libnowhere.so.9: cannot open shared object file" in trouble
    assert "install the Edge TPU's library" in trouble
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
    judging.close()


@pytest.mark.parametrize(
    "fault",
    [
        ("crash-invoke", "the Edge TPU's library died of signal 11 (Segmentation fault)"),
        ("hang-invoke", "the Edge TPU did not answer within"),
        ("fail-invoke", "the Edge TPU fails (Node number "),
    ],
    ids=itemgetter(0),
)
def test_the_frame_that_it_fails_at_is_judged(
    opened: Callable[..., Classifier], standin: Standin, expected: Floats, figure: Callable[[str], None], fault: Fault
) -> None:
    """The very frame gets its verdict within the deadline, from the CPU; so do the next, until it is back."""
    how, reason = fault
    standin.behave(f"{how} {WARMING + 2 * 2 + 1}")
    judging = opened(deadline=2.0)
    assert engine(judging).settle(PATIENCE) == ""
    for _ in range(2):
        judging.classify(FRAME)
    began = time.monotonic()
    found = judging.classify(FRAME)
    seconds = time.monotonic() - began
    np.testing.assert_array_equal(found.scores, expected)
    figure(f"the verdict came after {seconds * 1e3:.0f} ms")
    assert seconds < 2.0
    assert reason in engine(judging).trouble
    standin.behave("works")
    began = time.monotonic()
    wait_until_it_judges(judging)
    figure(f"it was back after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 8  # At once: not at the next look at the temperature, every 10 s.
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
    assert (engine(judging).health().failures, engine(judging).health().invokes) == (1, 3)


def test_one_that_begins_to_compute_wrongly_is_found(
    opened: Callable[..., Classifier], standin: Standin, expected: Floats
) -> None:
    """While it judges it is examined now and then: it is let go of, and the CPU judges until it computes rightly."""
    judging = opened(examining=0.0)
    assert engine(judging).settle(PATIENCE) == ""
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
    standin.behave("wrong")
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
    assert "computes otherwise than when it was opened; look at its power" in engine(judging).trouble
    standin.behave("works")
    wait_until_it_judges(judging)
    np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)


def test_a_frame_that_nobody_can_judge_in_time_says_so(opened: Callable[..., Classifier], standin: Standin) -> None:
    """Where the CPU would come too late the frame is no verdict but an error that says why; the next is the CPU's."""
    judging = opened(deadline=0.5)
    assert engine(judging).settle(PATIENCE) == ""
    standin.behave("hang-invoke 1")
    engine(judging)._cpu_seconds = 0.4
    with pytest.raises(AcceleratorError, match=r"did not answer within 250 ms, and the CPU needs 400 ms more"):
        judging.classify(FRAME)
    assert judging.logit_map() is None
    judging.classify(FRAME)
    assert judging.logit_map() is not None


def test_failures_leave_nothing_behind(parts: Bundle, standin: Standin, figure: Callable[[str], None]) -> None:
    """After forty crashes and refusals there is no zombie, no descriptor, no thread more than before."""
    before = descriptors()
    standin.behave("no-device")
    judging = line(parts, standin.settings(), pause=0.0)
    held, began = engine(judging), time.monotonic()
    for number, how in enumerate(("no-device", "crash-load", "refuse-model", "crash-invoke 1"), 1):
        standin.behave(how)
        with held._changed:
            assert held._changed.wait_for(lambda least=10 * number: held._plan.failures >= least, 10 * PATIENCE)  # type: ignore[misc]
    figure(f"{held._plan.failures} failed attempts in {time.monotonic() - began:.1f} s")
    judging.close()
    assert not held._thread.is_alive()
    assert children() == {}
    assert descriptors() == before


def test_another_model_is_refused(parts: Bundle, standin: Standin) -> None:
    """A twin that gives other tensors than the CPU's model is not used, whatever its golden frames would be."""
    other = parts.files | {EDGE_TPU_MODEL: patch_model(64, 64, 16, custom="edgetpu-custom-op")}
    judging = line(msgspec.structs.replace(parts, files=other), standin.settings())
    assert "model_edgetpu.tflite takes or gives other tensors" in engine(judging).settle(PATIENCE)
    judging.close()


@pytest.mark.parametrize(
    ("missing", "reason"), [(EDGE_TPU_MODEL, "the bundle has no model_edgetpu.tflite"), (EXPECTED, "no golden frames")]
)
def test_a_bundle_without_what_it_takes_is_refused(parts: Bundle, standin: Standin, missing: str, reason: str) -> None:
    """An accelerator that is asked for and can never judge ends the start with the remedy."""
    files = {name: content for name, content in parts.files.items() if name != missing}
    with pytest.raises(BundleError, match=rf"{reason}.*set runtime.accelerator to none"):
        Classifier(msgspec.structs.replace(parts, files=files), standin.settings())
    assert children() == {}


def test_a_bundle_that_expects_nothing_proves_nothing(parts: Bundle, standin: Standin) -> None:
    """A list of golden frames that is empty is no reason to trust an accelerator."""
    judging = line(msgspec.structs.replace(parts, files=parts.files | {EXPECTED: b"{}"}), standin.settings())
    assert "no golden frames to try an accelerator by" in engine(judging).settle(PATIENCE)
    judging.close()


def test_what_happens_is_logged_once(
    opened: Callable[..., Classifier], standin: Standin, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails in the same way, the log has one line of it, and one when it is back."""
    caplog.set_level("INFO")
    standin.behave("no-device")
    judging = opened(pause=0.0)
    held = engine(judging)
    with held._changed:
        held._changed.wait_for(lambda: held._plan.failures >= 5, PATIENCE)
    standin.behave("works")
    wait_until_it_judges(judging)
    told = [record.getMessage() for record in caplog.records if "accelerator" in record.name]
    assert [text.partition(":")[0].partition(";")[0] for text in told] == [
        "the Edge TPU cannot be used",
        "the Edge TPU judges",
    ]


def test_only_what_is_on_usb_is_reset(opened: Callable[..., Classifier]) -> None:
    """The worker of a reset resets a USB device before it opens it, also one that nobody named; of PCIe none."""
    job = engine(opened())._task.job
    for device, resets in (("", True), ("usb", True), ("usb:1", True), ("pci", False), ("pci:0", False), (":0", True)):
        named = msgspec.structs.replace(job, device=device)
        assert job_for(Step.RESET, named).reset is resets
        assert not job_for(Step.OPEN, named).reset


def test_the_chips_temperature_is_in_its_health(opened: Callable[..., Classifier], tmp_path: Path) -> None:
    """A PCIe chip's is read from its driver's file, in degrees; where there is none it is left out."""
    sensor = tmp_path / "sys/class/apex/apex_0/temp"
    sensor.parent.mkdir(parents=True)
    sensor.write_text("61500\n")
    held = engine(opened())
    assert held.settle(PATIENCE) == ""
    assert held.health().temperature_c is None
    warm = Accelerated(held._cpu, held._task, held._limits, root=tmp_path)
    assert warm.settle(PATIENCE) == ""
    assert warm.health().temperature_c == 61.5
    warm.close()
