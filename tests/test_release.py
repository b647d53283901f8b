"""What a push sends: the configuration's one rewritten key, the files that travel with it, the program's name."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import DEMO_BUNDLE, PROJECT
from hypothesis import given
from hypothesis import strategies as st

from deploy.device import Access
from deploy.program import Program, build_wheel, program
from deploy.release import BUNDLE_ON_DEVICE, CONFIG, assemble, pack
from edge.contract import bundle as bundles
from edge.errors import ConfigError, DeployError

CAMERA = '[camera]\nkind = "synthetic"\n'


def config(folder: Path, *, head: str = 'bundle = "x"', camera: str = CAMERA, mqtt: str = "") -> Path:
    """Write a device.toml."""
    path = folder / "device.toml"
    path.write_text(f'{head}\n\n[device]\nsite = "hall"\n{camera}[mqtt]\nhost = "broker"\n{mqtt}\n')
    return path


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
    assemble(DEMO_BUNDLE, config(tmp_path, camera='[camera]\nkind = "video"\nsource = "rtsp://camera/1"\n'))


def test_a_packed_release_holds_the_whole_bundle_and_no_open_secret(tmp_path: Path) -> None:
    """The archive's bundle reads as the original, signature included, and only root and the daemon may read it."""
    from edge.contract import signing

    demo = bundles.read(DEMO_BUNDLE)
    key = signing.load_key(signing.generate_key())
    signed = bundles.write(tmp_path / "signed.zip", demo.manifest, demo.files, signing_key=key)
    head = f'bundle = "x"\ntrusted_keys = ["{signing.public_text(key)}"]'
    with tarfile.open(fileobj=io.BytesIO(pack(assemble(signed.path, config(tmp_path, head=head))))) as archive:
        archive.extractall(tmp_path / "device", filter="data")
        assert all(member.mode & 0o007 == 0 and member.gname == "edge-inspect" for member in archive)
    received = bundles.read(tmp_path / "device" / "bundle", trusted_keys=[signing.public_text(key)])
    assert received.sha256 == signed.sha256


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
    requirements = PROJECT / "requirements-device.txt"
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
    """What a push sends besides the program travels in the wheel: the lock file, the unit and the daemon's user."""
    with zipfile.ZipFile(wheel) as archive:
        shared = {name.partition("share/edge-inspect/")[2] for name in archive.namelist()}
    assert {"requirements-device.txt", "systemd/edge-inspect.service", "systemd/edge-inspect.sysusers"} <= shared


def test_unusable_wheels_are_refused(tmp_path: Path) -> None:
    """A file that is no wheel of this project, or a folder without wheels, is an error with the remedy."""
    shutil.copy(__file__, tmp_path / "edge_inspect-1.whl")
    with (
        pytest.raises(DeployError, match="is no wheel of edge-inspect"),
        program(tmp_path / "edge_inspect-1.whl", None, system_packages=False),
    ):
        pass
    with pytest.raises(DeployError, match="pip download"), program(None, tmp_path / "none", system_packages=False):
        pass


NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)


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
