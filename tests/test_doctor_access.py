"""What doctor says of what the daemon's user may read, in the service's sandbox."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import DEMO_BUNDLE
from test_doctor_disk import LOADED
from test_doctor_machine import states

from edge.config import Config
from edge.doctor import access, units
from edge.doctor.finding import Patient
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.finding import Finding

SANDBOX = LOADED | {"User": "nobody", "SupplementaryGroups": "", "ProtectHome": "yes", "PrivateTmp": "no"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a configuration, a bundle and pictures, which everybody may read, up to the root."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    shutil.copytree(DEMO_BUNDLE, place / "bundle")
    (place / "pictures").mkdir()
    (place / "device.toml").touch()
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield place
    shutil.rmtree(place)


def accessible(place: Path, monkeypatch: pytest.MonkeyPatch, asking: int = 0, **changes: str) -> list[Finding]:
    """Ask, by default as root, whether a service may read them."""
    monkeypatch.setattr(os, "geteuid", lambda: asking)
    monkeypatch.setattr(units, "show", lambda _: [units.Unit(SANDBOX | changes)])
    config = Config(bundle=place / "bundle", camera=FolderConfig(path=place / "pictures"))
    return list(access.access(Patient(path=place / "device.toml", config=config)))


@pytest.mark.parametrize(
    ("closed", "mode", "named"),
    [
        ("device.toml", 0o600, ["device.toml"]),
        ("bundle/model.tflite", 0o600, ["bundle"]),
        ("bundle/golden", 0o744, ["bundle"]),
        ("pictures", 0o711, ["pictures"]),
        (".", 0o700, ["device.toml", "bundle", "pictures"]),
    ],
)
def test_what_is_closed_to_the_daemon_is_a_problem(
    place: Path, monkeypatch: pytest.MonkeyPatch, closed: str, mode: int, named: list[str]
) -> None:
    """Root, who asks, reads what the daemon's user may not: file, folder, a bundle's file, or the way there."""
    assert states(accessible(place, monkeypatch)) == [("access", "ok")]
    (place / closed).chmod(mode)
    found = accessible(place, monkeypatch)
    assert [each.state for each in found] == ["problem"] * len(named)
    expected = [f"user nobody may not read {place / each}: {place / closed} is closed" for each in named]
    assert [each.says for each in found] == expected
    assert states(accessible(place, monkeypatch, User="root")) == [("access", "ok")]
    assert states(accessible(place, monkeypatch, asking=12345)) == [("access", "skipped")]


@pytest.mark.parametrize("below", ["", "models/"])
def test_a_link_is_followed_as_the_daemon_follows_it(place: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    """A bundle that is open to all but reached by a link in a closed or hidden folder is a problem, told once."""
    (place / "real" / below).mkdir(parents=True)
    (place / "bundle").rename(place / "real" / below / "one")
    (place / "links").mkdir()
    (place / "links" / "new").symlink_to(place / "real")
    (place / "way").symlink_to("links/new")
    (place / "bundle").symlink_to(f"way/{below}one")
    assert states(accessible(place, monkeypatch)) == [("access", "ok")]
    (place / "links").chmod(0o700)
    says = [each.says for each in accessible(place, monkeypatch)]
    assert says == [f"user nobody may not read {place}/links/new/{below}one: {place}/links is closed"]


def test_what_the_sandbox_hides_is_a_problem(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in /home or, as here, in a /tmp of its own is empty for the service, unless the unit binds it there."""
    found = accessible(place, monkeypatch, PrivateTmp="yes")
    assert [each.says.partition(" is ")[2] for each in found] == ["hidden from edge-inspect.service"] * 3
    bound = {"PrivateTmp": "yes", "BindReadOnlyPaths": f"{place}:{place}:rbind"}
    assert states(accessible(place, monkeypatch, **bound)) == [("access", "ok")]
    assert units.Unit(SANDBOX).hides(Path("/home/pi/bundle"))
    assert not units.Unit(SANDBOX).hides(Path("/homes"))
