"""Opens a Raspberry Pi camera as configured: its streams, what is fixed of it, and its HDR."""

from __future__ import annotations

import errno
import gc
import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from edge.camera import pi_controls
from edge.errors import CameraError
from edge.record import Record
from edge.sections.cameras import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.pi_controls import Lock
    from edge.camera.picamera2_api import IMX708, Config, Mapper, Module, Opener, Picamera2
    from edge.contract.preprocess import Pixels
    from edge.sections.cameras import PicameraConfig

RGB_BYTES = "BGR888"
"""picamera2 names the packed formats backwards: this one lies in memory as R, G, B."""
YUV_PLANES = "YUV420"
"""All that the `lores` stream of a Raspberry Pi 4 and older gives."""
BUFFERS = 6
"""libcamera needs two at least to keep its rate, picamera2 holds one, and Loans.MOST may be lent."""
SENSOR_HDR_SIZE = (2304, 1296)
"""The only size of Camera Module 3's sensor in HDR (Linux, drivers/media/i2c/imx708.c)."""


class Stream(Record, frozen=True):
    """One of the pictures that a camera gives of each exposure."""

    name: str
    form: str
    size: tuple[int, int]
    """(width, height) in pixels."""

    def refuses(self, configuration: Config) -> str:
        """Say what a camera's configuration has instead of this stream; empty: just this."""
        given = configuration[self.name]
        found = _described(given["format"], given["size"])
        wanted = _described(self.form, self.size)
        return "" if found == wanted else f"gives {found} instead of {wanted}"

    def is_not(self, pixels: Pixels) -> str:
        """Say how a picture, as it came, differs from what its configuration says; empty: not at all."""
        wanted = (*reversed(self.size), 3)
        if pixels.shape == wanted:
            return ""
        found, expected = (" x ".join(map(str, shape)) for shape in (pixels.shape, wanted))
        return f"its picture has {found} values instead of {expected}"


class Opened(Record, frozen=True):
    """A camera that delivers."""

    camera: Picamera2
    mapped: Mapper
    main: Stream
    lores: Stream | None
    """What is judged instead of `main`."""
    fixed: list[Lock]


@contextmanager
def as_camera_error(name: str, problem: str, remedy: str) -> Iterator[None]:
    """Translate whatever a driver throws into one line."""
    try:
        yield
    except CameraError:
        raise
    except Exception as error:  # A driver's, libcamera's or picamera2's own, of any kind.
        raise CameraError(f"{name}: {problem} ({root(error)}); {remedy}") from error


def root(error: BaseException) -> str:
    """Return the first cause's words, on one line: picamera2 wraps it in sentences about itself, with `from` or not."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__


def start_camera(config: PicameraConfig, name: str) -> Opened:
    """Open, configure and start; raises CameraError, which begins with `name` or the key that is to blame."""
    module = _picamera2()
    if gc.isenabled():  # Not while the daemon starts, when nothing was closed yet.
        gc.collect()  # What was closed, or did not open, keeps files until then: picamera2's objects are circles.
    main = Stream("main", RGB_BYTES, (config.width, config.height))
    fixed = pi_controls.locks(config)
    with as_camera_error(name, "refuses its settings", "change what it names in [camera]"), ExitStack() as undone:
        lores = _lores(config, module)
        camera = _open_with_hdr(config, module.Picamera2, name)
        undone.callback(camera.close)
        with _memory(main):
            camera.configure(_configuration(config, module, camera, lores))
            _start(camera, config.rate, fixed)
        _check(camera, [main] if lores is None else [main, lores], name)
        undone.pop_all()
    return Opened(camera, module.MappedArray, main, lores, fixed)


@contextmanager
def _memory(main: Stream) -> Iterator[None]:
    """Name the remedy where the memory for pictures is short: the kernel's words, of picamera2 or of libcamera."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if os.strerror(errno.ENOMEM) not in root(error):
            raise
        problem = f"no memory for {BUFFERS} pictures of {main.size[0]}x{main.size[1]}; make both smaller, or leave more"
        raise CameraError(f"camera.width and camera.height: {problem} to cameras (CmaFree in /proc/meminfo)") from error


def _lores(config: PicameraConfig, module: Module) -> Stream | None:
    if not config.lores_width:
        return None
    form = RGB_BYTES if _is_pi_5(module) else YUV_PLANES
    return Stream("lores", form, config.lores_size)


def _is_pi_5(module: Module) -> bool:
    return bool(module.Picamera2.platform == module.Platform.PISP)


def _configuration(config: PicameraConfig, module: Module, camera: Picamera2, lores: Stream | None) -> Config:
    if config.hdr == "isp" and not _is_pi_5(module):
        raise CameraError('camera.hdr "isp": only a Raspberry Pi 5 has it; leave camera.hdr out')
    period = round(MICROSECONDS / config.rate)
    # Only planes depend on it: YUV's colours, which libcamera would choose by the size of `main`.
    colours = module.libcamera.ColorSpace.Sycc() if lores is not None and lores.form == YUV_PLANES else None
    return camera.create_video_configuration(
        main={"format": RGB_BYTES, "size": (config.width, config.height)},
        lores=None if lores is None else {"format": lores.form, "size": lores.size},
        colour_space=colours,
        buffer_count=BUFFERS,
        controls={"FrameDurationLimits": (period, period)},
    )


def _start(camera: Picamera2, rate: float, fixed: list[Lock]) -> None:
    """Start a configured camera with the fixed values: they hold from the first frame on."""
    offered = camera.camera_controls  # Only now: the mode decides on the limits.
    if problem := pi_controls.rate_refusal(rate, offered) or next(pi_controls.refusals(fixed, offered), ""):
        raise CameraError(problem)
    camera.set_controls(pi_controls.to_set(fixed))
    camera.start()


def _check(camera: Picamera2, streams: list[Stream], name: str) -> None:
    """Refuse what libcamera made of a wish, without a word; raises CameraError."""
    for stream in streams:
        if problem := stream.refuses(camera.camera_configuration()):
            keys = "camera.width and camera.height" if stream.name == "main" else "camera.lores_width"
            raise CameraError(f"{name}: {problem}; change {keys}")


def _open_with_hdr(config: PicameraConfig, opener: Opener, name: str) -> Picamera2:
    """Open the camera, with its sensor's own HDR switched on or off: it outlives who switched it."""
    with as_camera_error(name, "cannot be looked for", "see rpicam-hello --list-cameras"):
        infos = opener.global_camera_info()
    if config.index >= len(infos):
        raise CameraError(f"{name}: not among this device's {len(infos)} cameras; see rpicam-hello --list-cameras")
    model = str(infos[config.index].get("Model"))
    has_hdr, wanted = model.startswith("imx708"), config.hdr == "sensor"
    if wanted and not has_hdr:
        raise CameraError(f'camera.hdr "sensor": only Camera Module 3 has it, not {model}; leave camera.hdr out')
    camera = _open(opener, config.index, name)
    if has_hdr and (camera.sensor_resolution == SENSOR_HDR_SIZE) != wanted:
        camera.close()
        _switch_sensor_hdr(infos[config.index]["Num"], enable=wanted)
        camera = _open(opener, config.index, name)
        if (camera.sensor_resolution == SENSOR_HDR_SIZE) != wanted:
            camera.close()
            raise CameraError(f'camera.hdr "{config.hdr}": the sensor does not switch; restart the device')
    return camera


def _open(opener: Opener, index: int, name: str) -> Picamera2:
    """Open a camera; one that fails leaves nothing open, for it is asked for again and again.

    picamera2 itself forgets an end of a pipe where it does not get the camera, and the camera where what follows fails.
    """
    new: Any = opener
    camera = cast("Picamera2", new.__new__(new))
    with as_camera_error(name, "cannot be opened", "does another program use it?"):
        try:
            new.__init__(camera, index)
        except Exception:
            with suppress(Exception):
                if camera.is_open:
                    camera.close()
                else:
                    os.close(camera.notifyme_w)
            raise
    return camera


def _switch_sensor_hdr(number: int, *, enable: bool) -> None:
    with as_camera_error("camera.hdr", "the sensor cannot be reached", "may this user write /dev/v4l-subdev*?"):
        from picamera2.devices import imx708

        sensor: IMX708 = imx708.IMX708(number)
        try:
            sensor.set_sensor_hdr_mode(enable)
        finally:
            sensor.close()


def _described(form: str, size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} {form}"


def _picamera2() -> Module:
    try:
        import picamera2
    except ModuleNotFoundError as error:
        remedy = "apt install python3-picamera2 and a venv with --system-site-packages"
        raise CameraError(f"camera.kind picamera2: {error}; it needs {remedy}") from error
    except (ImportError, ValueError) as error:
        # ValueError: an extension that was built for another numpy than the one in this environment.
        remedy = "install the numpy that requirements-device.txt names"
        raise CameraError(f"camera.kind picamera2 does not load ({root(error)}); {remedy}") from error
    return cast("Module", picamera2)
