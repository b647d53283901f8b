"""The preview page in a real browser."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from browser import Browser, browser
from device import write_config
from previewing import running_preview, wait_for
from remote_pi import RemotePi

from edge.config import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGIONS = [
    {"name": "left", "x": 0.05, "y": 0.1, "width": 0.4, "height": 0.8},
    {"name": "tray", "x": 0.5, "y": 0.1, "width": 0.45, "height": 0.8, "rows": 2, "columns": 3},
]
NAMES = ["left", *(f"tray-{row}-{column}" for row in (1, 2) for column in (1, 2, 3))]
VERDICTS = "[...document.querySelectorAll('#regions tbody .verdict')].map((cell) => cell.dataset.verdict)"
STAGE = "JSON.parse(JSON.stringify(document.getElementById('stage').getBoundingClientRect()))"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def chromium(running: Browser) -> Browser:
    """The same without a page, and without what the one before had to complain about when its preview ended."""
    running.call("Page.navigate", url="about:blank")
    running.complaints.clear()
    return running


def text(page: Browser, selector: str) -> str:
    """Return what a person reads there."""
    found = page.value(f"document.querySelector({selector!r}).innerText")
    return str(found)


def config_for(folder: Path, bundle: Path, camera: dict[str, Any], **more: Any) -> Path:
    """Write the configuration of a device with regions."""
    return write_config(folder / "device.toml", bundle=bundle, camera=camera, mqtt={}, regions=REGIONS, **more)


def test_it_shows_the_picture_the_regions_and_their_verdicts(
    chromium: Browser, tmp_path: Path, demo_bundle: Path
) -> None:
    """All of it stands there as text too, and the browser's console has nothing to object to."""
    camera = {"kind": "synthetic", "name": "station-3", "width": 640, "height": 480}
    with running_preview(config_for(tmp_path, demo_bundle, camera)) as preview:
        chromium.open(f"http://localhost:{preview.port}/")
        verdicts = chromium.wait(VERDICTS, lambda found: len(found) == len(NAMES) and all(found))
        assert set(verdicts) <= {"PASS", "DEFECT", "UNKNOWN"}
        names = "[...document.querySelectorAll('#regions tbody th')].map((cell) => cell.innerText)"
        assert chromium.value(names) == NAMES
        drawn = chromium.value("[...document.querySelectorAll('.configured')].map((box) => box.innerText)")
        assert [words.split()[1] for words in drawn] == NAMES
        assert chromium.value("[$('picture').width, $('picture').height]") == [640, 480]
        box, stage = (
            chromium.value(f"JSON.parse(JSON.stringify({each}))")
            for each in (
                "document.querySelector('.configured').getBoundingClientRect()",
                "stage.getBoundingClientRect()",
            )
        )
        assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx(0.05, abs=0.01)
        assert box["height"] / stage["height"] == pytest.approx(0.8, abs=0.01)
        assert "640 x 480 pixels" in text(chromium, "#live")
        assert text(chromium, "h1") == "Camera station-3"
        assert "of the best" in text(chromium, "#of-best")
        assert chromium.value("document.querySelectorAll('#light tbody tr').length") == 4
        assert "before a baseline was taken" in text(chromium, "#guard")
        before = text(chromium, "#sharpness")
        chromium.wait("$('sharpness').innerText", lambda found: found != before)
        assert chromium.complaints == []


@pytest.mark.parametrize("rotate", [0, 90])
def test_what_is_drawn_becomes_configuration(chromium: Browser, tmp_path: Path, demo_bundle: Path, rotate: int) -> None:
    """With the mouse and by the keyboard; the text is what the device then shows in the same place."""
    camera = {"kind": "synthetic", "width": 320, "height": 240, "rotate": rotate}
    with running_preview(config_for(tmp_path, demo_bundle, camera)) as preview:
        chromium.open(f"http://localhost:{preview.port}/")
        width = 240 if rotate else 320
        chromium.wait("$('picture').width", lambda found: found == width)
        chromium.wait("$('trouble').hidden")  # It stands above the picture, and moves it.
        stage = chromium.value(STAGE)

        def at(x: float, y: float) -> tuple[float, float]:
            return stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]

        chromium.drag(at(0.6, 0.75), at(0.2, 0.25))
        chromium.drag(at(0.9, 0.9), at(0.901, 0.9))
        one = chromium.wait("$('toml').value")
        chromium.value("$('add').click()")
        chromium.value("document.activeElement.select()")
        chromium.type("tray-b")
        chromium.value("document.querySelector('#drawn tr:last-child .columns').select()")
        chromium.type("2")
        both = chromium.wait("$('toml').value", lambda found: "tray-b" in found and ("s = 2" in found))
        assert text(chromium, "#said") == ""
        chromium.value("document.querySelector('#drawn tbody input').value = 'a b'")
        chromium.value("document.querySelector('#drawn tbody input').dispatchEvent(new Event('input'))")
        assert "'a b' is no name" in chromium.wait("$('said').innerText")
        assert chromium.value("$('toml').value") == ""
        chromium.value("document.querySelector('#drawn button').click()")
        assert "tray-b" in chromium.wait("$('toml').value")
        assert chromium.value("document.querySelectorAll('.drawn').length") == 1
    first, second = parse({"bundle": "b", "camera": {"kind": "synthetic"}, **tomllib.loads(both)}, tmp_path).regions
    assert one in both
    assert first.name == "region-1"
    wanted = (0.25, 0.4, 0.5, 0.4) if rotate else (0.2, 0.25, 0.4, 0.5)
    assert (first.x, first.y, first.width, first.height) == pytest.approx(wanted, abs=0.01)
    assert (second.x, second.y, second.width, second.height) == (0.25, 0.25, 0.5, 0.5)
    assert (second.rows, second.columns) == ((2, 1) if rotate else (1, 2))


def test_faults_are_told_and_the_page_recovers(chromium: Browser, tmp_path: Path, demo_bundle: Path) -> None:
    """A cable that is pulled, then a preview that ends and one that starts anew: each is said, and passes by itself."""
    pi = RemotePi(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    second = RemotePi(again)
    config = config_for(tmp_path, demo_bundle, pi.camera)
    number = "$('live').innerText"
    with running_preview(config, pi.environment) as preview:
        port = preview.port
        chromium.open(f"http://localhost:{port}/")
        chromium.wait(number)
        pi.do("unplug")
        assert "check its cable" in chromium.wait("$('trouble').innerText")
        pi.do("plug")
        chromium.wait("$('trouble').hidden")
    assert "does not answer" in chromium.wait("$('trouble').innerText")
    chromium.value("$('picture').getContext('2d').clearRect(0, 0, 999, 999)")
    with running_preview(config, second.environment, port) as preview:
        wait_for(preview.port, lambda found: found["picture"])
        chromium.wait("$('trouble').hidden")
        chromium.wait("$('picture').getContext('2d').getImageData(9, 9, 1, 1).data[3] === 255")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1400])
def test_it_is_read_on_a_phone_and_by_night(
    chromium: Browser, tmp_path: Path, demo_bundle: Path, width: int, *, dark: bool
) -> None:
    """Nothing sticks out sideways, and ink and paper differ enough (WCAG 2.2, 1.4.3) in either light."""
    with running_preview(config_for(tmp_path, demo_bundle, {"kind": "synthetic"})) as preview:
        chromium.open(f"http://localhost:{preview.port}/", width=width, height=2400, dark=dark)
        chromium.wait(VERDICTS, lambda found: len(found) == len(NAMES) and all(found))
        chromium.value("$('add').click()")
        assert chromium.value("document.documentElement.scrollWidth") <= width
        for selector in ("h1", "#live", "#shares", "td.verdict", "thead th", ".soft", "#light .red", "button"):
            assert contrast(chromium, selector) >= 4.5, selector
        chromium.screenshot(tmp_path / f"page-{width}-{'dark' if dark else 'light'}.png")
        assert chromium.complaints == []


def contrast(page: Browser, selector: str) -> float:
    """Return the contrast of a text and what is behind it."""
    ink, paper = page.value(
        f"""(() => {{
        const element = document.querySelector({selector!r});
        let behind = element;
        while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }})()"""
    )
    first, second = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of rgb(...), 0-1, by WCAG 2.2."""
    levels = [int(level) / 255 for level in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in levels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
