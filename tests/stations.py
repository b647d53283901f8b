"""A station, its broker and the operator who pushes to it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conftest import DEMO_BUNDLE, Broker, free_port, make_broker
from debians import locked, need, wheelhouse
from device import write_config
from rigs import FITTER, Station, deploy, start_station

from deploy.program import REQUIREMENTS_WITH_CAMERA

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from recorder import Recorder


@dataclass(frozen=True)
class Line:
    """A station, its broker and what the operator pushes with."""

    station: Station
    broker: Broker
    config: Path
    options: tuple[object, ...]

    def order(self, bundle: Path, *more: object) -> tuple[object, ...]:
        """Return the arguments of edge-deploy."""
        host = f"{FITTER}@{self.station.address}"
        return ("push", host, bundle, "--config", self.config, *self.options, *more)

    def push(self, bundle: Path, *more: object) -> subprocess.CompletedProcess[str]:
        """Push as an operator does."""
        return deploy(*self.order(bundle, *more))

    def judging_with(self, recorder: Recorder) -> str:
        """Wait for a verdict of the daemon that is online now and return its bundle's SHA-256."""
        boot = recorder.wait_for_status("online")["boot_id"]
        recorder.wait(lambda r: any(e["boot_id"] == boot for e in r.named("event")))
        return next(str(m["bundle_sha256"]) for m in recorder.named("model") if m["boot_id"] == boot)


def start_line(folder: Path, wheel: Path) -> Line:
    """Boot a station and a broker that both of them reach, under two names."""
    need("mosquitto", "mosquitto")
    packages = wheelhouse([*locked(REQUIREMENTS_WITH_CAMERA, "3.11").values()], "3.11", platform.machine())
    station = start_station(folder)
    port = free_port()
    broker = make_broker(folder, "allow_anonymous true", f"listener {port} {station.gateway}")
    broker.start()
    config = write_config(
        folder / "device.toml",
        bundle=DEMO_BUNDLE,
        state_dir="/var/lib/edge-inspect",  # systemd's: /etc is not the service's to write.
        camera={"kind": "synthetic", "rate": 10.0},
        mqtt={"host": station.gateway, "port": port},
        device={"site": "test"},
    )
    options = ("--broker", f"127.0.0.1:{broker.port}", "--wheel", wheel, "--wheelhouse", packages)
    return Line(station, broker, config, (*options, "--ssh-key", station.key, "--known-hosts", station.known_hosts))
