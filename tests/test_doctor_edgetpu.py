"""What doctor says of an Edge TPU: on the bus from files as the kernel has them, at work with a library made here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from accelerators import bundle as samples
from test_doctor_machine import states
from test_heat import write

from edge.config import Config
from edge.contract.bundle import EDGE_TPU_MODEL
from edge.doctor import edgetpu
from edge.doctor.finding import Patient
from edge.doctor.ward import Check, examine
from edge.errors import RuntimeUnavailableError
from edge.ledger.claim import Claim
from edge.sections.cameras import SyntheticConfig
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from accelerators import Standin

    from edge.contract.bundle import Bundle

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def patient(root: Path, **runtime: Any) -> Patient:
    settings = Runtime(accelerator="edgetpu", **runtime)
    config = Config(bundle=root / "bundle", camera=SyntheticConfig(), state_dir=root, runtime=settings)
    return Patient(root=root, config=config)


def plug(root: Path, **files: str) -> None:
    """Plug an Edge TPU in."""
    known = {"idVendor": "18d1", "idProduct": "9302", "busnum": "2", "devnum": "3", "speed": "5000", **files}
    for name, text in known.items():
        write(root, f"sys/bus/usb/devices/2-1/{name.replace('__', '/')}", f"{text}\n")


def save(folder: Path, bundle: Bundle | None = None) -> None:
    """Write a bundle, by default the sample that the stand-in computes."""
    found = bundle or samples()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.files.items()}
    for name, content in found.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = msgspec.structs.replace(found.manifest, files=hashes)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def test_none_where_one_is_wanted(tmp_path: Path) -> None:
    """An Edge TPU that is configured and not there is a problem; where none is configured there is none to miss."""
    assert states(edgetpu.usb(patient(tmp_path))) == [("edge tpu usb", "problem")]
    assert states(edgetpu.pci(patient(tmp_path, device="pci"))) == [("edge tpu pcie", "problem")]
    assert states(edgetpu.pci(patient(tmp_path))) == [("edge tpu pcie", "skipped")]
    assert states(edgetpu.usb(Patient(root=tmp_path))) == [("edge tpu usb", "skipped")]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ["ok"]),
        ({"speed": "10000", "bMaxPower": "896mA"}, ["ok"]),
        ({"speed": "480"}, ["warning"]),
        ({"speed": "480", "bMaxPower": "896mA"}, ["warning", "warning"]),
        ({"speed": "480", "bMaxPower": "500mA", "idVendor": "1a6e", "idProduct": "089a"}, ["warning"]),
        ({"speed": "unknown"}, ["warning"]),
        ({"power__control": "auto"}, ["ok", "warning"]),
        ({"power__control": "on"}, ["ok"]),
    ],
)
def test_how_it_is_plugged_in(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    """USB 2, too little power and a port that goes to sleep are warnings, before its first use too."""
    plug(tmp_path, **files)
    assert [state for _, state in states(edgetpu.usb(patient(tmp_path)))] == expected


def test_who_may_use_it(tmp_path: Path) -> None:
    """The file of its place on the bus is looked at."""
    plug(tmp_path)
    write(tmp_path, "dev/bus/usb/002/003", "")
    assert ("edge tpu access", "ok") in states(edgetpu.usb(patient(tmp_path)))


def test_on_pcie(tmp_path: Path) -> None:
    """A chip without its driver is a problem, a driver without its file too; with both it is fine."""
    for name, text in (("vendor", "0x1ac1\n"), ("device", "0x089a\n")):
        write(tmp_path, f"sys/bus/pci/devices/0000:01:00.0/{name}", text)
    (found,) = edgetpu.pci(patient(tmp_path))
    assert "gasket-dkms" in found.remedy
    write(tmp_path, "sys/class/apex/apex_0/temp", "50000")
    assert states(edgetpu.pci(patient(tmp_path))) == [("edge tpu pcie", "problem")]
    write(tmp_path, "dev/apex_0", "")
    assert states(edgetpu.pci(patient(tmp_path))) == [("edge tpu pcie", "ok")]


@pytest.mark.parametrize(
    ("package", "state"), [("16.0", "problem"), ("16.0tf2.17.1-1", "ok"), ("16.0TF2.19.1-1", "ok"), ("", "ok")]
)
def test_whose_library_it_is(package: str, state: str) -> None:
    """Google's own package is for a runtime that no device has any more; the community's name theirs."""
    status = f"Package: libc6\nVersion: 2\n\nPackage: libedgetpu1-std\nStatus: x\nVersion: {package}\n"
    assert edgetpu.debian_version(status if package else "Package: libedgetpu-dev\nVersion: 1\n") == package
    assert states(edgetpu.judge_library("libedgetpu.so.1", package, wanted=True)) == [("libedgetpu", state)]
    assert edgetpu.judge_library("libedgetpu.so.1", package, wanted=False).state != "problem"


def test_a_library_that_is_missing(tmp_path: Path, standin: Standin) -> None:
    """It is a problem where it is needed only, and one that is there is named."""
    lost = f"{tmp_path}/libnone.so"
    assert states(edgetpu.library(patient(tmp_path, library=lost))) == [("libedgetpu", "problem")]
    assert states(edgetpu.library(patient(tmp_path, library=str(standin.library)))) == [("libedgetpu", "ok")]


def test_one_that_works(tmp_path: Path, standin: Standin) -> None:
    """It computes the golden frames; while a daemon has it, nobody else takes it."""
    save(tmp_path / "bundle")
    well = patient(tmp_path, library=str(standin.library))
    assert states(edgetpu.probe(well)) == [("edge tpu", "ok")]
    claim = Claim(tmp_path)
    try:
        found = edgetpu.probe(Patient(config=well.config))
        assert states(found) == [("edge tpu", "skipped")]
    finally:
        claim.close()
    assert states(edgetpu.probe(Patient(root=tmp_path))) == [("edge tpu", "skipped")]


@pytest.mark.parametrize(
    ("how", "words"), [("crash-load", "died of signal"), ("no-device", "no Edge TPU answers"), ("wrong", "golden")]
)
def test_one_that_does_not_work(tmp_path: Path, standin: Standin, how: str, words: str) -> None:
    """A crash, no device and wrong results end in a problem that says which, and not in the doctor's end."""
    save(tmp_path / "bundle")
    standin.behave(how)
    check = Check("edge tpu", "edgetpu:probe", RuntimeUnavailableError, 90)
    (found,) = examine(check, patient(tmp_path, library=str(standin.library)))
    assert found.state == "problem"
    assert words in found.says
    assert found.remedy


def test_one_that_hangs(tmp_path: Path, standin: Standin) -> None:
    """A library that does not come back is given up in time."""
    save(tmp_path / "bundle")
    standin.behave("hang-load")
    check = Check("edge tpu", "edgetpu:probe", RuntimeUnavailableError, 3)
    (found,) = examine(check, patient(tmp_path, library=str(standin.library)))
    assert (found.state, found.says.startswith("no answer within 3 s")) == ("problem", True)


def test_the_sample_is_a_bundle(tmp_path: Path) -> None:
    """What is written here is what a device reads."""
    from edge.contract import bundle as bundles

    save(tmp_path / "bundle")
    assert EDGE_TPU_MODEL in bundles.read(tmp_path / "bundle").files
