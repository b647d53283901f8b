"""What is used of picamera2, and what the tests pretend of it, held against picamera2's own source."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from conftest import PROJECT
from fakes import PiCameras
from picamera2_source import attributes, chains, classes, differences, folder, imported, invented, methods, trees

if TYPE_CHECKING:
    from pathlib import Path

    from edge.camera.picamera2_api import CompletedRequest, Opener, Picamera2

RELEASES = ["installed", "0.3.25", "0.3.38"]
"""Of October 2024, whose RGB `lores` a Raspberry Pi 5 has, and of 2026."""
API = "edge/camera/picamera2_api.py"
AS_CALLED = {"Opener": "Picamera2", "Mapper": "MappedArray"}
"""Classes that are called: `__call__` stands for their `__init__`."""
IN_USE = {"Mapped": "MappedArray"}
FAKES = {"FakePicamera2": "Picamera2", "FakeRequest": "CompletedRequest", "FakeMappedArray": "MappedArray"}
MADE_INSIDE = {"FakePicamera2", "FakeRequest"}
"""What nobody but the fakes makes: how is their affair."""
MODULES = {"Module", "Libcamera", "ColorSpace"}


def parse(name: str) -> ast.Module:
    return ast.parse((PROJECT / name).read_text("utf-8"))


@pytest.fixture(params=RELEASES)
def package(request: pytest.FixtureRequest) -> Path:
    return folder(request.param)


def real_classes(package: Path) -> dict[str, ast.ClassDef]:
    return classes(*trees(package).values())


def test_what_is_used_is_there(package: Path) -> None:
    """Every class, method, parameter and attribute that mypy lets the camera use is one of picamera2's."""
    real = real_classes(package)
    for name, ours in classes(parse(API)).items():
        if name in MODULES:
            continue
        theirs = real[AS_CALLED.get(name) or IN_USE.get(name, name)]
        assert attributes(ours) <= attributes(theirs), name
        for method, function in methods(ours).items():
            found = methods(theirs)["__init__" if method == "__call__" else method]
            assert list(differences(function, found)) == [], name


def test_the_modules_have_what_is_used(package: Path) -> None:
    """What the module picamera2 is asked for it imports, what libcamera is asked for picamera2 itself uses."""
    ours = classes(parse(API))
    assert attributes(ours["Module"]) <= imported(trees(package)["__init__.py"])
    used = chains(*trees(package).values())
    for part in attributes(ours["Libcamera"]):
        assert {f"libcamera.{part}.{method}" for method in methods(ours[part])} <= used


def test_the_submodules_that_are_imported_are_there(package: Path) -> None:
    """Each `from picamera2.X import y` of the camera names a module, and that has the class it is asked for."""
    tree = parse("edge/camera/pi_open.py")
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    found = [node for node in nodes if (node.module or "").startswith("picamera2.")]
    assert found
    for node in found:
        for alias in node.names:
            module = package.joinpath(*(node.module or "").split(".")[1:], alias.name)
            assert module.is_dir() or module.with_suffix(".py").is_file()
            wanted = {chain.split(".")[1] for chain in chains(tree) if chain.startswith(f"{alias.name}.")}
            inside = [text for name, text in trees(package).items() if f"/{alias.name}" in f"/{name}"]
            assert wanted <= classes(*inside).keys()


def test_the_fake_pretends_nothing_else(package: Path) -> None:
    """The fake has no method, attribute, parameter or default that the real class has not."""
    real = real_classes(package)
    for name, ours in classes(parse("tests/fake_picamera2.py")).items():
        found = invented(ours, real[FAKES[name]])
        assert [line for line in found if name not in MADE_INSIDE or not line.startswith("__init__")] == [], name
    for name, ours in classes(parse("tests/fakes.py")).items():
        if name != "PiCameras":
            assert list(invented(ours, real[name])) == [], name


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("def capture_frame(self): ...", "Picamera2.capture_frame: there is none"),
        ("def capture_request(self, timeout=None): ...", "capture_request: (timeout) are not its first parameters"),
        ("def capture_request(self, wait=5): ...", "capture_request: another default of wait"),
        ("def capture_request(self, *, patience): ...", "capture_request: it has no patience"),
        ("def set_controls(self): ...", "set_controls: it needs controls"),
        ("frames_lost = 0", "Picamera2.frames_lost: there is none"),
    ],
)
def test_an_invention_is_noticed(package: Path, method: str, words: str) -> None:
    """A fake with a method, a parameter, a default or an attribute of its own fails, by that name."""
    (ours,) = classes(ast.parse(f"class Picamera2:\n    {method}")).values()
    assert words in list(invented(ours, real_classes(package)["Picamera2"]))


def test_the_fake_can_do_what_is_used() -> None:
    """It has each method and attribute of the classes that the camera uses, so that mypy's word counts for it too."""
    module = PiCameras().module()
    opener: Opener = module.Picamera2
    camera: Picamera2 = opener(0)
    ours = classes(parse(API))
    for name, owner in (("Opener", opener), ("Picamera2", camera)):
        used = (attributes(ours[name]) | methods(ours[name]).keys()) - {"__call__"}
        assert {each for each in used if not hasattr(owner, each)} == set()
    camera.configure(camera.create_video_configuration({"format": "BGR888", "size": (64, 64)}, controls={}))
    camera.start()
    request: CompletedRequest = camera.capture_request(wait=1)
    assert request.config["main"]["size"] == (64, 64)
    with module.MappedArray(request, "main", write=False) as mapped:
        assert mapped.array.shape == (64, 64, 3)
