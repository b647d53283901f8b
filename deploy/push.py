"""`edge-deploy push`: a release to one device, kept only if the device is then seen judging with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from deploy import provision
from deploy.device import Device
from deploy.program import program
from deploy.release import assemble
from deploy.watch import Watch
from edge.errors import ConfigError, DeployError

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.device import Access
    from deploy.program import Program
    from deploy.provision import Survey
    from deploy.release import Release
    from edge.contract.messages import Event
    from edge.sections.mqtt import Mqtt


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push as the operator ordered it."""

    access: Access
    bundle: Path
    config: Path
    broker: tuple[str, int] | None
    """Host and port (0: the configured one) of the broker as this machine reaches it; None: as configured."""
    wheel: Path | None
    wheelhouse: Path | None
    timeout: float
    """Seconds from the restart until the verdict."""
    dry_run: bool


def run(order: Push) -> int:
    """Carry out one push and return 0.

    Raises ConfigError, BundleError or BrokerError before anything is touched, and DeployError if the device
    is out of reach or does not judge with the new release: then the old one is put back.
    """
    release = assemble(order.bundle, order.config)
    broker = _broker(order, release.config.mqtt)
    with (
        program(order.wheel, order.wheelhouse, config=release.config) as software,
        Device(order.access) as device,
    ):
        print(f"{device.name}: bundle {release.bundle.manifest.name!r}, model {_short(release.bundle.model_sha256)}")
        provision.plan_packages(device, provision.packages(release.config))
        found = provision.survey(device)
        if order.dry_run:
            return _show(device, release, software, found)
        identity = release.device_id or found.host_name
        with Watch(broker, site=release.config.device.site, device=identity) as watch:
            return _carry_out(device, release, software, Proof(device, watch, order.timeout))


def _broker(order: Push, mqtt: Mqtt) -> Mqtt:
    """Return the broker as this machine reaches it; raises ConfigError for a name that means the device itself."""
    if order.broker is not None:
        host, port = order.broker
        return msgspec.structs.replace(mqtt, host=host, port=port or mqtt.port)
    if mqtt.host in ("localhost", "::1") or mqtt.host.startswith("127."):
        raise ConfigError(
            f"{order.config}: mqtt.host {mqtt.host} is the device itself; say how this machine reaches it with --broker"
        )
    return mqtt


def _show(device: Device, release: Release, software: Program, found: Survey) -> int:
    """Say what a push would change; facts are read, nothing is written."""
    provision.plan_switch(device, provision.plan_stage(device, release, software, found))
    for title in device.planned():
        print(f"  would {title}")
    if not device.planned():
        print(f"{device.name}: nothing would change")
    return 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What makes a release stay: a verdict, seen on the broker."""

    device: Device
    watch: Watch
    seconds: float

    def wait(self, model: str | None, earlier: frozenset[str]) -> Event:
        """Return a verdict of a start not in `earlier`, as `Watch.verdict`; raises DeployError without one."""
        print(f"  wait for a verdict on {self.watch.event_topic}", flush=True)
        sight = self.watch.verdict(model=model, earlier=earlier, seconds=self.seconds)
        if sight.event is None:
            raise DeployError(f"{self.device.name}: {sight.reason}")
        return sight.event


def _carry_out(device: Device, release: Release, software: Program, proof: Proof) -> int:
    model = release.bundle.model_sha256
    changed = device.apply(_step)  # The Debian packages first: they may bring the Python that the survey asks for.
    found = provision.survey(device)
    place = provision.plan_stage(device, release, software, found)
    try:
        changed |= device.apply(_step)
    except DeployError:
        _clear(device, place, provision.venv_name(software, found))
        raise
    earlier = proof.watch.boots() if place else frozenset()
    provision.plan_switch(device, place)
    try:
        changed |= device.apply(_step)
        event = proof.wait(model, earlier)
    except (DeployError, KeyboardInterrupt) as error:
        if place:
            raise _put_back(found, proof, error) from error
        if isinstance(error, DeployError):  # As an operator leaves it whose machine was switched off amid a push.
            problem = "it had all of this before, so there is nothing to put back"
            raise DeployError(f"{error}; {problem}; push what judged, or ask edge-inspect doctor there") from error
        raise
    if place:
        _tidy(device, found)
    state = "online" if changed else "nothing changed"
    print(f"{device.name}: {state}, model {_short(model)} judges: {event.verdict} {event.label} {event.score:.3f}")
    return 0


def _clear(device: Device, place: str, venv: str) -> None:
    """Take away what was begun: the disk may be full, and the daemon there needs it too."""
    try:
        provision.clear(device, place, venv)
    except DeployError as error:
        print(f"  what was begun could not be removed: {error}", flush=True)


def _tidy(device: Device, found: Survey) -> None:
    """Remove what is older than the release before; the new one judges, whether this works or not."""
    try:
        provision.prune(device, found)
    except DeployError as error:
        print(f"  old releases could not be removed: {error}", flush=True)


def _put_back(found: Survey, proof: Proof, error: BaseException) -> BaseException:
    """Return to the release that ran before, and return the error to raise: what happened and how this went."""
    print(f"  go back to {found.running or 'no release'}", flush=True)
    if isinstance(error, KeyboardInterrupt):
        proof.device.sever()
    try:
        # Over a connection of its own: the first may be what broke, or Ctrl-C came in the middle of a packet.
        with proof.device.another() as device:
            words = provision.last_words(device)
            earlier = proof.watch.boots()
            provision.roll_back(device, found)
    except DeployError as trouble:
        return DeployError(f"{str(error) or 'interrupted'}; going back to the old release failed too: {trouble}")
    came_of_it = outcome(found, proof, earlier)
    if isinstance(error, KeyboardInterrupt):
        print(f"{device.name}: {came_of_it}", flush=True)
        return error
    return DeployError(f"{error}; the daemon's last words: {words}; {came_of_it}")


def outcome(found: Survey, proof: Proof, earlier: frozenset[str]) -> str:
    """Say how the device fares that was put back."""
    if not found.running:
        return "it is stopped: there was no earlier release"
    try:
        proof.wait(None, earlier)
    except DeployError as trouble:  # It runs, or `roll_back` had said so: perhaps no part comes.
        return f"the old release is back and runs, but {trouble}"
    return "the old release is back and judges"


def _step(title: str) -> None:
    print(f"  {title}", flush=True)


def _short(sha256: str) -> str:
    return sha256[:12]
