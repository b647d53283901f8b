"""Pushes to a whole Debian host: real ssh, systemd, unit, daemon and broker."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from conftest import DEMO_BUNDLE, PROJECT
from PIL import Image
from recorder import Recorder
from rigs import FITTER, STATION, deploy
from stations import start_line

from deploy.program import build_wheel
from edge.contract import bundle as bundles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rigs import Station
    from stations import Line

    from edge.contract.bundle import Bundle

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]
CONFIG = "/etc/edge-inspect/device.toml"
INSTALLED = r"install the locked Python packages"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Line]:
    """A station as it left the box; the tests below go through its life in order."""
    line = start_line(tmp_path_factory.mktemp("station"), wheel)
    yield line
    line.station.stop()
    line.broker.stop()


@pytest.fixture(scope="module")
def line(fresh: Line) -> Line:
    """The station after a push of the demo bundle."""
    pushed = fresh.push(DEMO_BUNDLE)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    return fresh


@pytest.fixture
def mislabelled(tmp_path: Path) -> Path:
    """A bundle whose hashes are right and whose labels are one more than its model's scores."""
    demo = bundles.read(DEMO_BUNDLE)
    labels = (*demo.manifest.labels, bundles.Label(name="surplus", verdict="DEFECT"))
    return written(tmp_path / "mislabelled", demo, labels=labels).path


def written(path: Path, bundle: Bundle, **changes: object) -> Bundle:
    """Write a bundle with a changed manifest."""
    return bundles.write(path, msgspec.structs.replace(bundle.manifest, **changes), bundle.files)


def starts(station: Station) -> str:
    """Return what changes with every start of the service."""
    return station.shell("systemctl show edge-inspect --property=ActiveState,InvocationID")


def order(line: Line, bundle: Path) -> subprocess.Popen[str]:
    """Begin a push, to be disturbed."""
    command = [sys.executable, "-m", "deploy", *map(str, line.order(bundle))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def push_with_camera(line: Line, folder: Path, camera: str) -> subprocess.CompletedProcess[str]:
    """Push the demo bundle with another camera than the station has."""
    config = folder / "device.toml"
    config.write_text(line.config.read_text().replace('kind = "synthetic"', camera))
    return deploy(*(config if word == line.config else word for word in line.order(DEMO_BUNDLE)))


def test_a_dry_run_leaves_a_fresh_station_untouched(fresh: Line) -> None:
    """`--dry-run` names every step of a first push and changes nothing on the device."""
    before = fresh.station.shell("ls -A / /etc /opt /root /home")
    shown = fresh.push(DEMO_BUNDLE, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert re.search(f"would {INSTALLED}.*would switch to .* and restart", shown.stdout, re.DOTALL)
    assert fresh.station.shell("ls -A / /etc /opt /root /home") == before


def test_a_first_push_of_a_broken_bundle_leaves_nothing_running(fresh: Line, mislabelled: Path) -> None:
    """Where nothing ran before, a bundle that cannot judge ends with the service stopped and code 9."""
    users = base64.b64encode((PROJECT / "systemd" / "edge-inspect.sysusers").read_bytes()).decode()
    # As a push leaves it that was interrupted just there: the file is put, and nobody has read it.
    fresh.station.shell(f"mkdir -p /etc/sysusers.d; base64 -d <<< {users} > /etc/sysusers.d/edge-inspect.conf")
    pushed = fresh.push(mislabelled)
    assert pushed.returncode == 9, pushed.stdout + pushed.stderr
    assert "the manifest names 6 labels" in pushed.stderr
    assert "there was no earlier release" in pushed.stderr
    assert "ActiveState=inactive" in starts(fresh.station)


def test_a_device_that_was_set_up_by_hand_is_left_alone(fresh: Line) -> None:
    """Where somebody made /etc/edge-inspect a push says so and what to do, and touches nothing of it."""
    saved = "test ! -L /etc/edge-inspect || mv /etc/edge-inspect /etc/saved"
    fresh.station.shell(f"{saved}; mkdir /etc/edge-inspect; touch /etc/edge-inspect/left.toml")
    pushed = fresh.push(DEMO_BUNDLE)
    assert pushed.returncode == 9, pushed.stdout
    assert "/etc/edge-inspect is no link of a push" in pushed.stderr
    assert "move it away" in pushed.stderr
    fresh.station.shell("rm /etc/edge-inspect/left.toml; rmdir /etc/edge-inspect; mv /etc/saved /etc/edge-inspect")


def test_a_push_installs_a_daemon_that_judges(line: Line) -> None:
    """After a push the station's own daemon gives verdicts with the pushed bundle, under its host name."""
    with Recorder(line.broker.port) as recorder:
        assert line.judging_with(recorder) == bundles.read(DEMO_BUNDLE).sha256
        assert {message.topic.split("/")[3] for message in recorder.messages} == {STATION}


def test_a_push_brings_the_command(line: Line) -> None:
    """`edge-inspect` is there for root, by sudo too, and for whoever logs in, who reads nothing that is secret."""
    as_fitter = f"runuser -l {FITTER} -c"
    assert "online" in line.station.shell(f"{as_fitter} 'sudo edge-inspect top --once --config {CONFIG}'")
    assert "doctor" in line.station.shell(f"{as_fitter} 'edge-inspect --help'")
    shown = line.station.shell(f"{as_fitter} 'ls /opt/edge-inspect/current/ /opt/edge-inspect/current/*/ 2>&1; true'")
    assert "device.toml" not in shown
    assert "model" not in shown


def test_a_push_tells_udev_of_the_devices(line: Line) -> None:
    """The rules for cameras' memory, pins and the Edge TPU lie where udev reads them."""
    rules = (PROJECT / "systemd" / "edge-inspect.rules").read_text()
    assert line.station.shell("cat /etc/udev/rules.d/60-edge-inspect.rules") == rules


def test_a_second_push_changes_nothing(line: Line) -> None:
    """Pushing the same again says so and does not restart the daemon; a dry run agrees."""
    before = starts(line.station)
    pushed = line.push(DEMO_BUNDLE)
    assert pushed.returncode == 0, pushed.stderr
    assert "nothing changed" in pushed.stdout
    assert starts(line.station) == before
    assert "nothing would change" in line.push(DEMO_BUNDLE, "--dry-run").stdout


def test_a_broken_bundle_leaves_the_old_one_judging(line: Line, mislabelled: Path) -> None:
    """A bundle that cannot judge is refused with code 9 and its reason, whatever another camera's daemon says."""
    other = 'while sleep 0.1; do logger --tag edge-inspect "another camera is away"; done'
    line.station.shell(f"systemd-run --unit=other sh -c '{other}'")
    pushed = line.push(mislabelled)
    line.station.shell("systemctl stop other")
    assert pushed.returncode == 9, pushed.stdout + pushed.stderr
    assert len(pushed.stderr.strip().splitlines()) == 1
    assert "the manifest names 6 labels" in pushed.stderr
    assert "the old release is back and judges" in pushed.stderr
    with Recorder(line.broker.port) as recorder:
        assert line.judging_with(recorder) == bundles.read(DEMO_BUNDLE).sha256


def test_what_was_edited_on_the_device_is_put_right(line: Line) -> None:
    """A configuration that somebody changed on the device is replaced by the pushed one, with a restart."""
    line.station.shell("sed -i 's/^rate.*/rate = 0.5/' /etc/edge-inspect/device.toml")
    before = starts(line.station)
    pushed = line.push(DEMO_BUNDLE)
    assert pushed.returncode == 0, pushed.stderr
    assert "rate = 10.0" in line.station.shell("cat /etc/edge-inspect/device.toml")
    assert starts(line.station) != before


def test_a_package_that_apt_does_not_know_stops_a_push(line: Line, tmp_path: Path) -> None:
    """A camera that needs a Debian package which the device cannot get is one clear line, and nothing restarts."""
    before = starts(line.station)
    pushed = push_with_camera(line, tmp_path, 'kind = "picamera2"')
    assert pushed.returncode == 9, pushed.stdout + pushed.stderr
    assert "install Debian packages: python3-picamera2: E: " in pushed.stderr
    assert starts(line.station) == before


def test_a_full_disk_ends_a_push_that_leaves_the_room_to_others(line: Line) -> None:
    """What was begun is removed, the one line says what the disk said, and nothing restarts."""
    before = starts(line.station)
    line.station.shell("mount -t tmpfs -o size=32k tmpfs /opt/edge-inspect/releases")
    pushed = line.push(DEMO_BUNDLE)
    left = line.station.shell(f"ls -A /opt/edge-inspect/releases; ls -d ~{FITTER}/.edge-inspect-push 2>&1 || true")
    line.station.shell("umount --lazy /opt/edge-inspect/releases")
    assert pushed.returncode == 9, pushed.stdout + pushed.stderr
    assert re.fullmatch(r"edge-deploy: [^\n]*lay out [^\n]*[Nn]o space left on device[^\n]*\n", pushed.stderr), (
        pushed.stderr
    )
    assert re.fullmatch(r"ls: cannot access [^\n]*\n", left), left
    assert starts(line.station) == before


def test_a_pulled_cable_ends_a_push_and_not_the_judging(line: Line, tmp_path: Path) -> None:
    """When the link dies before the switch, the push ends with one line and the old bundle judges on."""
    before = starts(line.station)
    with order(line, written(tmp_path / "other", bundles.read(DEMO_BUNDLE), name="other").path) as push:
        assert push.stdout is not None
        next(text for text in push.stdout if "lay out" in text)
        line.station.pull_the_cable()
        errors = push.communicate(timeout=120)[1]
        line.station.plug_the_cable()
    assert push.returncode == 9, errors
    assert re.fullmatch(r"edge-deploy: [^\n]*the connection broke[^\n]*\n", errors), errors
    assert starts(line.station) == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_push_leaves_the_old_bundle_judging(line: Line, tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C or a closed terminal after the switch, before the proof, ends with 130 and the old bundle judging."""
    other = written(tmp_path / "other", bundles.read(DEMO_BUNDLE), name="other").path
    with order(line, other) as push:
        assert push.stdout is not None
        next(text for text in push.stdout if "switch to" in text)
        push.send_signal(how)
        rest, errors = push.communicate(timeout=120)
    assert push.returncode == 130, rest + errors
    assert errors == "edge-deploy: interrupted\n"
    with Recorder(line.broker.port) as recorder:
        assert line.judging_with(recorder) == bundles.read(DEMO_BUNDLE).sha256


def test_a_new_bundle_replaces_the_old_one(line: Line, tmp_path: Path) -> None:
    """A push of another bundle switches to it without installing the program again, and keeps the one before."""
    other = written(tmp_path / "other", bundles.read(DEMO_BUNDLE), name="other")
    pushed = line.push(other.path)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert not re.search(INSTALLED, pushed.stdout)
    with Recorder(line.broker.port) as recorder:
        assert line.judging_with(recorder) == other.sha256
    demo_manifest = line.station.shell("sha256sum < /opt/edge-inspect/previous/bundle/manifest.json")
    assert demo_manifest.split()[0] == bundles.read(DEMO_BUNDLE).sha256


def test_a_push_with_a_video_brings_its_decoder(line: Line, tmp_path: Path) -> None:
    """Where the camera becomes a video, the push installs PyAV too and the station judges the video's frames."""
    with Image.open(DEMO_BUNDLE / "golden" / "0.png") as picture:
        picture.convert("RGB").save(tmp_path / "clip.mjpeg", "JPEG")
    clip = base64.b64encode((tmp_path / "clip.mjpeg").read_bytes()).decode()
    line.station.shell(f"echo {clip} | base64 --decode > /srv/clip.mjpeg")
    pushed = push_with_camera(line, tmp_path, 'kind = "video"\nsource = "/srv/clip.mjpeg"\nloop = true')
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert re.search(INSTALLED, pushed.stdout)
    with Recorder(line.broker.port) as recorder:
        assert line.judging_with(recorder) == bundles.read(DEMO_BUNDLE).sha256
