"""The camera: its package, its devices' files, and one frame of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.doctor.account import judge_nodes, of_daemon
from edge.doctor.disk import daemon_runs
from edge.doctor.finding import blame, ok, problem, shorten, skipped, warning
from edge.errors import CameraError
from edge.sysfs import matching, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.doctor.finding import Finding, Patient
    from edge.sections.cameras import CameraConfig

_LENT = "make the venv with --system-site-packages, as edge-deploy push does for such a camera"
_PICAMERA2 = "apt install python3-picamera2; for one that is there: the numpy that requirements-device.txt names"
_RIBBON = "look at its ribbon cable, and at camera_auto_detect=1 in /boot/firmware/config.txt; then restart"


def stack(patient: Patient) -> Iterator[Finding]:
    """Whether the camera's package loads, and which cameras it sees."""
    camera = patient.configured.camera
    if _kind(camera) != "picamera2":
        yield skipped("camera stack", f"camera.kind {_kind(camera)} needs none of the system's")
        return
    yield from judge_venv(text(Path(sys.prefix, "pyvenv.cfg")))
    try:
        import picamera2
    except (ImportError, ValueError) as error:  # ValueError: an extension that was built for another numpy.
        yield problem("camera stack", shorten(f"picamera2 does not load ({error})"), _PICAMERA2)
        return
    try:
        found = picamera2.Picamera2.global_camera_info()
    except RuntimeError as error:
        yield problem("camera stack", shorten(f"libcamera does not list its cameras ({error})"), _RIBBON)
        return
    names = ", ".join(str(each.get("Model", "?")) for each in found)
    if found:
        yield ok("camera stack", f"picamera2 sees {names}")
    else:
        yield problem("camera stack", "picamera2 sees no camera", _RIBBON)


def judge_venv(settings: str) -> Iterator[Finding]:
    """Judge pyvenv.cfg: whether packages from apt can be imported here."""
    if settings and "include-system-site-packages=true" not in settings.lower().replace(" ", ""):
        yield problem("venv", "packages from apt cannot be imported in this environment", _LENT)


def nodes(patient: Patient) -> Iterator[Finding]:
    """Whether cameras' files are there, the daemon's user may use them, and no other program does."""
    kind = _kind(patient.configured.camera)
    if kind not in {"picamera2", "v4l2"}:
        yield skipped("camera device", f"camera.kind {kind} needs none")
        return
    media = "media*" if kind == "picamera2" else "video*"
    found = matching(patient.root, f"dev/{media}")
    if not found:
        yield problem("camera device", f"there is no /dev/{media}", _RIBBON if kind == "picamera2" else "plug it in")
        return
    yield from judge_nodes("camera device", of_daemon(patient.root), found)
    if not daemon_runs(patient) and (users := _users(patient.root, found)):
        yield warning(
            "camera users", f"{', '.join(users)} has it open", "end that program: a camera serves one at a time"
        )


def frame(patient: Patient) -> Iterator[Finding]:
    """Whether it gives a frame, unless the daemon has it."""
    if daemon_runs(patient):
        yield skipped("camera", "a daemon has it: what it sees is in `health` and `status`")
        return
    from edge.check import one_frame

    try:
        yield ok("camera", one_frame(patient.configured.camera))
    except CameraError as error:
        yield blame("camera", error, "look at its cable, its address and [camera]")


def _kind(camera: CameraConfig) -> str:
    return str(camera.__struct_config__.tag)


def _users(root: Path, wanted: Iterable[Path]) -> list[str]:
    """Return the other programs that have files open, as far as this user may see, by name and process id.

    PipeWire's own look at cameras (wireplumber) is one of them.
    """
    files = {os.path.realpath(each) for each in wanted}
    found = {}
    for link in matching(root, "proc/[0-9]*/fd/*"):
        process = link.parent.parent
        try:
            if str(link.readlink()) in files and int(process.name) != os.getpid():
                found[process.name] = f"{text(process / 'comm').strip() or '?'} ({process.name})"
        except (OSError, ValueError):
            continue  # It ended meanwhile, or is another user's.
    return sorted(found.values())
