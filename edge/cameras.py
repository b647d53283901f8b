"""`edge-inspect cameras`: which cameras this device has, with their modes, and the table [camera] that opens each."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from edge.camera.found import picameras, v4l2_cameras
from edge.command import EXIT_CODES
from edge.errors import CameraError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edge.camera.found import Found, View

_EXAMPLES = """examples:
  edge-inspect cameras
  edge-inspect cameras --json | jq -r '.cameras[0].config' >> device.toml

A camera that a program uses, such as a running daemon, is listed without being disturbed. Exit code 5: there is none.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    parser.epilog = _EXAMPLES + EXIT_CODES
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the cameras; returns 0, or 5 where there is none."""
    found, notes = [], []
    for look in (picameras, v4l2_cameras):
        cameras, said = look()
        found += cameras
        notes += said
    if arguments.json:
        print(json.dumps({"cameras": msgspec.to_builtins(found), "notes": notes}, indent=2))
    else:
        print("\n".join(line for camera in found for line in (*_lines(camera), "")), end="\n" if found else "")
        print("\n".join(notes if found else ["no camera found", *notes]))
    return 0 if found else CameraError.exit_code


def _lines(camera: Found) -> Iterator[str]:
    used = f", in use by {camera.used_by}" if camera.used_by else ""
    yield f"{camera.kind} {camera.place}: {camera.name}{used}"
    if camera.trouble:
        yield f"  {camera.trouble}"
    for form, views in groupby(camera.views, lambda view: view.format):
        yield from _table(form, list(views))
    if camera.controls:
        width = max(len(each.name) for each in camera.controls)
        yield f"  {'control':<{width}}  {'now':>6}  {'default':>7}  takes"
        for each in camera.controls:
            now = "?" if each.value is None else each.value
            note = f", {each.note}" if each.note else ""
            yield f"  {each.name:<{width}}  {now:>6}  {each.default:>7}  {each.limits}{note}"
    yield from (f"    {line}" for line in camera.config.splitlines())


def _table(form: str, views: list[View]) -> Iterator[str]:
    for view in views:
        low = f"{view.smallest[0]}x{view.smallest[1]} to " if view.smallest else ""
        rates = ", ".join(f"{rate:g}" for rate in view.rates)
        size = f"{low}{view.width}x{view.height}"
        yield f"  {form:<16}  {size:>10}" + (f"  at {rates} a second" if rates else "")
