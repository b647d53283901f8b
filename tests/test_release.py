"""What a push sends: the configuration's one rewritten key, the files that travel with it, the program's name."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEMO_BUNDLE, PROJECT
from debians import locked
from hypothesis import given
from hypothesis import strategies as st

from deploy.device import Access
from deploy.program import REQUIREMENTS, REQUIREMENTS_WITH_CAMERA, Program, build_wheel, program
from deploy.provision import packages, system_files
from deploy.release import BUNDLE_ON_DEVICE, CONFIG, assemble, pack
from edge.config import Config
from edge.contract import bundle as bundles
from edge.contract.messages import Verdict
from edge.errors import BundleError, ConfigError, DeployError
from edge.sections.cameras import FolderConfig, PicameraConfig, SyntheticConfig, V4l2Config, VideoConfig
from edge.sections.outputs import OutputConfig
from edge.sections.triggers import GpioConfig

if TYPE_CHECKING:
    from edge.sections.cameras import CameraConfig

GATE = OutputConfig(pin="17", verdicts=(Verdict.PASS,))
CAMERA = '[camera]\nkind = "synthetic"\n'


def config(folder: Path, *, head: str = 'bundle = "x"', camera: str = CAMERA, mqtt: str = "") -> Path:
    """Write a device.toml."""
    path = folder / "device.toml"
    path.write_text(f'{head}\n\n[device]\nsite = "hall"\n{camera}[mqtt]\nhost = "broker"\n{mqtt}\n')
    return path


def seeing(camera: CameraConfig, **more: Any) -> Config:
    """Return a configuration with a camera."""
    return Config(bundle=Path("bundle"), camera=camera, **more)


@given(
    before=st.sampled_from(["", "# bundle = 1\n", 'state_dir = "/x"  # bundle = "y"\n', "health_every_s = 5.0\n"]),
    key=st.sampled_from(['bundle = "x"', "bundle='x' # mine", '  bundle\t=  "a = b"', 'bundle = "x" # [not a table]']),
    after=st.sampled_from(["", '# a "comment"\n', "trusted_keys = []\n"]),
)
def test_only_the_bundle_key_is_rewritten(before: str, key: str, after: str) -> None:
    """However the file is written, the pushed one differs in what `bundle` says and in nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = config(Path(folder), head=f"{before}{key}\n{after}")
        pushed = assemble(DEMO_BUNDLE, path).files[CONFIG].decode()
        assert tomllib.loads(pushed) == {**tomllib.loads(path.read_text()), "bundle": BUNDLE_ON_DEVICE}
        assert len(pushed.splitlines()) == len(path.read_text().splitlines())


def test_a_bundle_key_that_cannot_be_rewritten_is_refused(tmp_path: Path) -> None:
    """A value over several lines is an error with the remedy, not a broken file on the device."""
    with pytest.raises(ConfigError, match="write the key bundle on one line"):
        assemble(DEMO_BUNDLE, config(tmp_path, head='bundle = """\nx"""'))


def test_a_byte_order_mark_is_read_as_the_device_reads_it(tmp_path: Path) -> None:
    """A file that an editor began with U+FEFF is pushed like any other."""
    path = config(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert tomllib.loads(assemble(DEMO_BUNDLE, path).files[CONFIG].decode())["bundle"] == BUNDLE_ON_DEVICE


def test_files_beside_the_configuration_travel_with_it(tmp_path: Path) -> None:
    """What [mqtt] names by a relative path is sent to the same place beside device.toml."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "password").write_text("1234\n")
    path = config(tmp_path, mqtt='username = "u"\npassword_file = "secret/password"')
    assert assemble(DEMO_BUNDLE, path).files["etc/secret/password"] == b"1234\n"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"mqtt": 'username = "u"\npassword_file = "../password"'}, "leaves this file's folder"),
        ({"mqtt": 'username = "u"\npassword_file = "nowhere"'}, "push sends it along"),
        ({"camera": '[camera]\nkind = "folder"\npath = "pictures"\n'}, "give the path it has on the device"),
        ({"camera": '[camera]\nkind = "video"\nsource = "clip.mp4"\n'}, "give the path it has on the device"),
    ],
)
def test_a_path_that_the_device_would_not_have_is_refused(tmp_path: Path, extra: dict[str, str], message: str) -> None:
    """Before anything is touched, a configuration that cannot work on the device is an error with the remedy."""
    with pytest.raises(ConfigError, match=message):
        assemble(DEMO_BUNDLE, config(tmp_path, **extra))


def test_an_address_of_a_stream_is_sent_as_it_is(tmp_path: Path) -> None:
    """A video source that is an address or an absolute path needs no file here."""
    made = assemble(DEMO_BUNDLE, config(tmp_path, camera='[camera]\nkind = "video"\nsource = "rtsp://camera/1"\n'))
    assert b"rtsp://camera/1" in made.files[CONFIG]


def test_a_packed_release_holds_the_whole_bundle_and_no_open_secret(tmp_path: Path) -> None:
    """The archive's bundle reads as the original, signature included, and only root and the daemon may read it."""
    from edge.contract import signing

    demo = bundles.read(DEMO_BUNDLE)
    key = signing.load_key(signing.generate_key())
    signed = bundles.write(tmp_path / "signed.zip", demo.manifest, demo.files, signing_key=key)
    head = f'bundle = "x"\ntrusted_keys = ["{signing.public_text(key)}"]'
    archived, device = pack(assemble(signed.path, config(tmp_path, head=head))), tmp_path / "device"
    device.mkdir()
    # As a device does it; Python's own way has another signature in Debian 12's 3.11.2 than from 3.12 on.
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", device], input=archived, check=True)
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        assert all(member.mode & 0o007 == 0 and member.gname == "edge-inspect" for member in archive)
    received = bundles.read(tmp_path / "device" / "bundle", trusted_keys=[signing.public_text(key)])
    assert received.sha256 == signed.sha256


def packed(folder: Path, kind: str, signature: bytes | Path) -> Path:
    """Copy the demo bundle, as a folder or zip, with a manifest.sig of this content or that is a link."""
    demo = bundles.read(DEMO_BUNDLE)
    path = bundles.write(folder / f"bundle{kind}", demo.manifest, demo.files).path
    if isinstance(signature, Path):
        (path / bundles.SIGNATURE).symlink_to(signature)
    elif kind:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(bundles.SIGNATURE, signature)
    else:
        (path / bundles.SIGNATURE).write_bytes(signature)
    return path


def test_a_signature_that_is_a_link_takes_no_file_of_this_machine_along(tmp_path: Path) -> None:
    """A manifest.sig that links to a file outside the bundle is refused, not sent to the device."""
    (tmp_path / "secret").write_text("mine")
    with pytest.raises(BundleError, match=r"manifest\.sig cannot be read \(it points outside the bundle"):
        assemble(packed(tmp_path, "", tmp_path / "secret"), config(tmp_path))


@pytest.mark.parametrize("kind", ["", ".zip"])
def test_a_signature_is_read_within_bounds(tmp_path: Path, kind: str) -> None:
    """A manifest.sig of any size, however small it packs, costs no more memory than the manifest may."""
    path = packed(tmp_path, kind, bytes(bundles.MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match=r"manifest\.sig is larger than"):
        assemble(path, config(tmp_path))


@pytest.mark.parametrize("kind", ["", ".zip"])
def test_a_signature_travels_though_this_configuration_trusts_no_key(tmp_path: Path, kind: str) -> None:
    """A folder's or zip's signature comes along as it is, for whoever checks it later."""
    release = assemble(packed(tmp_path, kind, b"signed"), config(tmp_path))
    assert release.files[f"bundle/{bundles.SIGNATURE}"] == b"signed"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_a_program_is_named_by_its_content(wheel: Path, tmp_path: Path) -> None:
    """Two builds of the same sources have one name, and a changed file in the wheel another."""
    again, other = tmp_path / f"again-{wheel.name}", tmp_path / f"other-{wheel.name}"
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(again, "w") as same, zipfile.ZipFile(other, "w") as changed:
        for name in reversed(source.namelist()):
            same.writestr(zipfile.ZipInfo(name, (2001, 1, 1, 0, 0, 0)), source.read(name))
            changed.writestr(name, source.read(name) + b"\n")
    requirements = PROJECT / REQUIREMENTS
    first, second, third = (
        Program(wheel=path, requirements=requirements, wheelhouse=(), system_packages=False).id
        for path in (wheel, again, other)
    )
    assert first == second != third


def test_a_built_wheel_holds_the_whole_program(wheel: Path) -> None:
    """The wheel has exactly the checkout's modules: none is missing from the list of packages."""
    for package in ("edge", "training", "deploy"):
        with zipfile.ZipFile(wheel) as archive:
            built = {name for name in archive.namelist() if name.startswith(f"{package}/") and name.endswith(".py")}
        assert built == {path.relative_to(PROJECT).as_posix() for path in (PROJECT / package).rglob("*.py")}


def test_an_installed_wheel_can_push_too(wheel: Path) -> None:
    """What a push sends besides the program travels in the wheel: the lock files, and all of systemd/."""
    with zipfile.ZipFile(wheel) as archive:
        shared = {name.partition("share/edge-inspect/")[2] for name in archive.namelist()}
    units = {f"systemd/{path.name}" for path in (PROJECT / "systemd").iterdir()}
    assert {REQUIREMENTS, REQUIREMENTS_WITH_CAMERA, *units} <= shared


def test_unusable_wheels_are_refused(tmp_path: Path) -> None:
    """A file that is no wheel of this project, or a folder without wheels, is an error with the remedy."""
    shutil.copy(__file__, tmp_path / "edge_inspect-1.whl")
    with (
        pytest.raises(DeployError, match="is no wheel of edge-inspect"),
        program(tmp_path / "edge_inspect-1.whl", None, config=seeing(SyntheticConfig())),
    ):
        pass
    with (
        pytest.raises(DeployError, match="pip download"),
        program(None, tmp_path / "none", config=seeing(SyntheticConfig())),
    ):
        pass


@pytest.mark.parametrize(
    ("wanted", "lock", "from_apt"),
    [
        (seeing(SyntheticConfig()), REQUIREMENTS, []),
        (seeing(FolderConfig(path="/pictures")), REQUIREMENTS, []),
        (seeing(PicameraConfig()), REQUIREMENTS, ["python3-picamera2"]),
        (seeing(VideoConfig(source="/clip.mkv")), REQUIREMENTS_WITH_CAMERA, []),
        (seeing(V4l2Config(device=Path("/dev/video0"))), REQUIREMENTS_WITH_CAMERA, []),
        (seeing(SyntheticConfig(), outputs=(GATE,)), REQUIREMENTS, ["python3-gpiozero", "python3-lgpio"]),
        (seeing(SyntheticConfig(), trigger=GpioConfig(pin="4")), REQUIREMENTS, ["python3-gpiozero", "python3-lgpio"]),
    ],
)
def test_a_program_has_what_its_camera_and_pins_need(
    wheel: Path, wanted: Config, lock: str, from_apt: list[str]
) -> None:
    """A video and a USB camera bring what reads them, picamera2 and pins are the system's; no other pays for these."""
    assert packages(wanted) == ["python3-venv", *from_apt]
    with program(wheel, None, config=wanted) as software:
        assert software.requirements.name == lock
        assert software.system_packages == bool(from_apt)


def test_the_back_off_goes_where_systemd_knows_it() -> None:
    """Debian 12's systemd 252 would complain of it with every reload; Debian 13's 257 takes it."""
    older, newer = ({file.name for file in system_files(version)} for version in (252, 257))
    assert newer - older == {"backoff.conf"}
    assert older == {"edge-inspect.sysusers", "edge-inspect.rules"}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_locks_for_devices_agree(python: str) -> None:
    """The lock for videos and USB cameras is the other one and their readers, and both are what the tests ran with."""
    core, with_camera, tested = (
        locked(name, python) for name in (REQUIREMENTS, REQUIREMENTS_WITH_CAMERA, "requirements-ci.txt")
    )
    assert with_camera == {**core, "av": tested["av"], "linuxpy": tested["linuxpy"]}
    differing = {name for name, entry in core.items() if tested[name] != entry}
    assert differing == ({"numpy", "ml-dtypes"} if python == "3.11" else set())


def test_a_device_with_debian_12_gets_the_numpy_that_its_picamera2_loads_with() -> None:
    """Debian 12 is Python 3.11, and its camera modules are built for numpy 1; later ones are for numpy 2."""
    assert locked(REQUIREMENTS, "3.11")["numpy"].startswith("numpy==1.26.")
    assert locked(REQUIREMENTS, "3.13")["numpy"].startswith("numpy==2.")


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,9}(\.[a-z][a-z0-9-]{0,9})?", fullmatch=True)


@given(name=NAMES, user=st.one_of(st.just(""), NAMES), port=st.integers(0, 65535))
def test_a_host_is_read_as_ssh_users_write_it(name: str, user: str, port: int) -> None:
    """NAME, USER@NAME and USER@NAME:PORT come out as their parts."""
    text = f"{user}@{name}" if user else name
    access = Access.parse(f"{text}:{port}" if port else text)
    assert (access.name, access.user, access.port) == (name, user, port)


@given(text=st.text(max_size=30))
def test_no_text_crashes_the_reader_of_hosts(text: str) -> None:
    """Any text is either a host or a ValueError that repeats it."""
    try:
        access = Access.parse(text)
    except ValueError as error:
        assert repr(text) in str(error)  # noqa: PT017 - most texts are errors, some are not
    else:
        assert access.name
        assert 0 <= access.port < 65536


def test_an_ipv6_address_stands_in_brackets() -> None:
    """An IPv6 address with a port is told from its colons by brackets."""
    access = Access.parse("pi@[fe80::1]:22")
    assert (access.name, access.user, access.port) == ("fe80::1", "pi", 22)
