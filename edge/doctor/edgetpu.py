"""The Edge TPU: on which bus, how well connected, by which library, and whether it computes."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from typing import TYPE_CHECKING

from edge.accelerator import coral
from edge.doctor.account import RULES, judge_nodes, of_daemon
from edge.doctor.disk import daemon_runs
from edge.doctor.finding import ok, problem, shorten, skipped, warning
from edge.errors import RuntimeUnavailableError
from edge.sysfs import first_line, matching, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.finding import Finding, Patient

_PCI = ("0x1ac1", "0x089a")
"""Vendor and device of an Edge TPU in sysfs' words (gasket-driver, apex_driver.c)."""
_USB_3_MBIT = 5000
_MOST_USB_2_MA = 500
_COMMUNITY = "install the build for this runtime (feranick/libedgetpu), and the runtime that belongs to it"


def usb(patient: Patient) -> Iterator[Finding]:
    """Whether there are Edge TPUs on USB, how fast, and whether the daemon's user may use them."""
    folders = coral.folders(patient.root)
    if not folders:
        yield from _missing(patient)
    for folder in folders:
        yield from judge_usb(folder.name, first_line(folder / "speed"), first_line(folder / "bMaxPower"))
        if first_line(folder / "power/control") == "auto":
            yield warning("edge tpu sleep", f"{folder.name} may be suspended when it is idle", RULES)
    if folders:
        yield from judge_nodes("edge tpu access", of_daemon(patient.root), coral.find(patient.root))


def _missing(patient: Patient) -> Iterator[Finding]:
    """Say that there is none on USB, as bad as the configuration makes it."""
    if not _is_wanted(patient):
        yield skipped("edge tpu usb", "none is there, and none is configured")
    elif not matching(patient.root, "sys/class/apex/apex_*") and patient.config:
        device = patient.config.runtime.device
        if not device.startswith("pci"):
            says = "runtime.accelerator is edgetpu, and none is on USB or PCIe"
            yield problem("edge tpu usb", says, "look at its cable, port and power; lsusb shows 1a6e:089a or 18d1:9302")


def judge_usb(port: str, speed: str, power: str) -> Iterator[Finding]:
    """Judge a connection by the kernel's `speed`, in Mbit/s, and `bMaxPower`, such as 500mA."""
    draws = f", draws up to {power}" if re.fullmatch(r"[0-9]{1,4}mA", power) else ""
    if not re.fullmatch(r"[0-9]{1,6}", speed):
        yield warning("edge tpu usb", f"on port {port}, speed unknown{draws}", "plug it in again")
    elif int(speed) >= _USB_3_MBIT:
        yield ok("edge tpu usb", f"on port {port}, {speed} Mbit/s{draws}")
    else:
        remedy = "use a blue (USB 3) port and its own cable: an invoke takes several times as long"
        yield warning("edge tpu usb", f"on port {port}, {speed} Mbit/s only{draws}", remedy)
    if draws and int(power.removesuffix("mA")) > _MOST_USB_2_MA and speed == "480":
        yield warning("edge tpu power", f"port {port} may give less than {power}", "use a USB 3 port or a powered hub")


def pci(patient: Patient) -> Iterator[Finding]:
    """Whether an Edge TPU on PCIe has its driver, and its file the right owner."""
    cards = [each for each in matching(patient.root, "sys/bus/pci/devices/*") if _is_chip(each)]
    drivers = matching(patient.root, "sys/class/apex/apex_*")
    if not cards and not drivers:
        wanted = patient.config is not None and patient.config.runtime.device.startswith("pci") and _is_wanted(patient)
        says = "none is there"
        yield (
            problem("edge tpu pcie", f"{says}, and runtime.device wants one", "see lspci, and dtparam=pciex1")
            if (wanted)
            else skipped("edge tpu pcie", says)
        )
        return
    if not drivers:
        remedy = "install gasket-dkms for this kernel, and restart"
        yield problem("edge tpu pcie", f"{cards[0].name} has no apex driver", remedy)
        return
    nodes = [patient.root / "dev" / each.name for each in drivers]
    if absent := [node.name for node in nodes if not node.exists()]:
        yield problem("edge tpu pcie", f"/dev/{absent[0]} is missing", "udevadm trigger, or restart")
    yield from judge_nodes("edge tpu pcie", of_daemon(patient.root), nodes)


def _is_chip(folder: Path) -> bool:
    return (first_line(folder / "vendor"), first_line(folder / "device")) == _PCI


def library(patient: Patient) -> Iterator[Finding]:
    """Whether the library loads, and which it is; whose build it is tells whether it fits the runtime."""
    name = patient.config.runtime.library if patient.config else "libedgetpu.so.1"
    try:
        loaded = ctypes.CDLL(name)
    except OSError as error:
        says = shorten(f"{name} does not load ({error})")
        unused = skipped("libedgetpu", f"{name} does not load, and no Edge TPU is configured")
        yield problem("libedgetpu", says, _COMMUNITY) if _is_wanted(patient) else unused
        return
    version = _version(loaded)
    package = debian_version(text(patient.root / "var/lib/dpkg/status")) if "/" not in name else ""
    yield judge_library(f"{name} {version}".strip(), package, wanted=_is_wanted(patient))


def _version(loaded: ctypes.CDLL) -> str:
    """Ask edgetpu_version of edgetpu_c.h."""
    try:
        ask = loaded.edgetpu_version
    except AttributeError:
        return ""
    ask.restype = ctypes.c_char_p
    return shorten((ask() or b"").decode(errors="replace"))


def debian_version(status: str) -> str:
    """Return the version of the library's package, from dpkg's status; empty if there is none."""
    for block in status.split("\n\n"):
        if re.match(r"Package: libedgetpu1-(std|max)$", block, re.MULTILINE):
            found = re.search(r"^Version: (\S+)$", block, re.MULTILINE)
            return found[1] if found else ""
    return ""


def judge_library(says: str, package: str, *, wanted: bool) -> Finding:
    """Judge a library by its package: Google's own, which is for TensorFlow 2.5, has a bare 16.0.

    It dies of SIGSEGV with tflite-runtime from 2.12 on and with LiteRT; the community's name their TensorFlow (tf2.17).
    """
    if package and "tf" not in package.lower():
        says = f"{says}, package {package}: crashes with any runtime of today"
        return (problem if wanted else warning)("libedgetpu", says, _COMMUNITY)
    return ok("libedgetpu", f"{says}, package {package}" if package else says)


def probe(patient: Patient) -> Iterator[Finding]:
    """Whether the accelerator opens the bundle's model and gives the golden frames' scores, as the daemon asks it."""
    if not _is_wanted(patient) or patient.config is None:
        yield skipped("edge tpu", "runtime.accelerator is none")
        return
    if daemon_runs(patient):
        yield skipped("edge tpu", "a daemon has it: how it fares is in `health`")
        return
    from edge.check import ACCELERATOR_SECONDS
    from edge.classifier import Classifier
    from edge.contract import bundle as bundles

    classifier = Classifier(bundles.read(patient.config.bundle), patient.config.runtime)
    try:
        trouble = classifier.accelerated.settle(ACCELERATOR_SECONDS) if classifier.accelerated else ""
    finally:
        classifier.close()
    if trouble:
        remedy = _COMMUNITY if "died of signal" in trouble else "see the lines above"
        raise RuntimeUnavailableError(f"{trouble}; {remedy}")
    yield ok("edge tpu", "it gives the golden frames' expected scores")


def _is_wanted(patient: Patient) -> bool:
    return patient.config is not None and patient.config.runtime.accelerator == "edgetpu"
