"""Sources of frames, each opened only when the configuration names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.sections.cameras import (
    CameraConfig,
    FolderConfig,
    PicameraConfig,
    SyntheticConfig,
    V4l2Config,
    VideoConfig,
)

if TYPE_CHECKING:
    from edge.camera.base import Camera


def open_camera(config: CameraConfig) -> Camera:  # noqa: PLR0911 - one for each kind
    """Open the configured camera; raises CameraError, naming it and the remedy, if it is not there."""
    match config:
        case PicameraConfig():
            from edge.camera.picamera import Picamera

            return Picamera(config)
        case V4l2Config():
            from edge.camera.v4l2 import V4l2Camera

            return V4l2Camera(config)
        case FolderConfig(watch=True):
            from edge.camera.watched import WatchedFolder

            return WatchedFolder(config)
        case FolderConfig():
            from edge.camera.folder import FolderCamera

            return FolderCamera(config)
        case VideoConfig(is_stream=True):
            from edge.camera.stream import StreamCamera

            return StreamCamera(config)
        case VideoConfig():
            from edge.camera.video import VideoCamera

            return VideoCamera(config)
        case SyntheticConfig():
            from edge.camera.synthetic import SyntheticCamera

            return SyntheticCamera(config)
