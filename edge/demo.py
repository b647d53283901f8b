"""`edge-inspect demo`: a broker, the real daemon and a live view of its verdicts, in one terminal.

The broker and the daemon are child processes of their own; they end with this one, however it ends.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from edge.command import ended_as_interrupted, to_count, to_path
from edge.contract.messages import MESSAGES, Event, Message
from edge.errors import BrokerError, DataError, RuntimeUnavailableError, by_exit_code
from edge.sections.mqtt import Mqtt

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DEMO_BUNDLE = Path(__file__).parent / "demo_bundle"
RATE = 5
"""Frames per second of the demo's camera."""
BROKER_SECONDS = 10.0
STOP_SECONDS = 3.0
"""The daemon ends within 2 s of SIGTERM."""
_SHOWN = ("status", "model", "health", "event")
"""The messages that the view shows."""
_SBIN = os.pathsep.join(["/usr/sbin", "/usr/local/sbin"])
"""Where Debian keeps mosquitto, outside an ordinary user's PATH."""


@dataclass(frozen=True, slots=True)
class _Broker:
    command: list[str]
    protocol: str
    name: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    parser.add_argument("--frames", type=to_path, metavar="DIR", help="judge these pictures instead of rendered ones")
    parser.add_argument("--bundle", type=to_path, metavar="BUNDLE", help="instead of the built-in demo bundle")
    parser.add_argument("--count", type=to_count, default=0, metavar="N", help="stop after N verdicts (0: never)")
    parser.add_argument("--picture", type=to_path, metavar="FILE", help="save the last table as an SVG picture")


def run(arguments: argparse.Namespace) -> int:
    """Show verdicts until `--count` of them or the last of `--frames`, then return 0; or until Ctrl-C.

    Raises DataError for a folder that is not there, and the daemon's own error if that fails.
    """
    try:
        from edge.demo_view import View
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(f"the demo needs {error.name}: pip install 'edge-inspect[demo]'") from error
    if arguments.frames and not arguments.frames.is_dir():
        raise DataError(f"--frames {arguments.frames}: no such folder")
    if arguments.picture and (arguments.picture.is_dir() or not arguments.picture.absolute().parent.is_dir()):
        raise DataError(f"--picture {arguments.picture}: not a file in a folder that is there")
    with ExitStack() as stack:
        stack.enter_context(ended_as_interrupted())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-inspect-demo-")))
        port = _free_port()
        broker = _choose_broker(folder, port)
        stack.enter_context(_child(broker.command, folder / "broker.log"))
        _wait_for(port)
        inbox = stack.enter_context(_subscription(port))
        config = folder / "device.toml"
        config.write_text(_config(arguments, port, broker.protocol), "utf-8")
        command = [sys.executable, "-P", "-m", "edge", "run", "--config", str(config)]
        daemon = stack.enter_context(_child(command, folder / "daemon.log"))
        view = stack.enter_context(View(broker.name, arguments.picture))
        _follow(view, inbox, daemon, arguments.count)
    return 0


def _follow(view: Any, inbox: SimpleQueue[Message], daemon: subprocess.Popen[bytes], count: int) -> None:
    shown = 0
    while True:
        try:
            message = inbox.get(timeout=0.2)
        except Empty:
            if daemon.poll() is not None:
                _require_success(daemon)
                return
            view.refresh()
            continue
        view.show(message)
        shown += isinstance(message, Event)
        if count and shown >= count:
            return


def _require_success(daemon: subprocess.Popen[bytes]) -> None:
    if daemon.returncode:
        log = Path(str(daemon.args[-1])).with_name("daemon.log")  # type: ignore[index]
        lines = log.read_text("utf-8", "replace").splitlines() or ["it said nothing"]
        reason = lines[-1].removeprefix("edge-inspect: ")
        raise by_exit_code(daemon.returncode)(f"the daemon ended with exit code {daemon.returncode}: {reason}")


def _config(arguments: argparse.Namespace, port: int, protocol: str) -> str:
    bundle = (arguments.bundle or DEMO_BUNDLE).absolute()
    camera: dict[str, Any] = {"kind": "synthetic", "name": "demo", "rate": RATE}
    if arguments.frames:
        camera = {"kind": "folder", "name": "demo", "rate": RATE, "path": str(arguments.frames.absolute())}
    return "\n".join(
        [
            f"bundle = {json.dumps(str(bundle), ensure_ascii=False)}",
            "state_dir = 'state'",  # Beside this file: what the demo judges is gone with it.
            "health_every_s = 1.0",
            "[device]\nsite = 'demo'\nid = 'demo'",
            "[camera]",
            *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in camera.items()),
            f"[mqtt]\nhost = '127.0.0.1'\nport = {port}\nprotocol = '{protocol}'\n",
        ]
    )


def _choose_broker(folder: Path, port: int) -> _Broker:
    """Take mosquitto where it is installed, else the pure-Python amqtt, which speaks MQTT 3.1.1 only."""
    mosquitto = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), _SBIN]))
    settings = folder / "broker.conf"
    if mosquitto:
        # As root it would become another user, and with that lose the death signal of _dying_with_parent.
        user = pwd.getpwuid(os.geteuid()).pw_name
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\n", "utf-8")
        return _Broker([mosquitto, "-c", str(settings)], "5", "mosquitto")
    plugins = "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    settings.write_text(f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n{plugins}", "utf-8")
    command = [sys.executable, "-P", "-m", "amqtt.scripts.broker_script", "-c", str(settings)]
    return _Broker(command, "3.1.1", "amqtt, MQTT 3.1.1")


@contextmanager
def _child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        command = [*_dying_with_parent(), *command]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _dying_with_parent() -> list[str]:
    """Have the kernel end a child when the demo is killed and cannot do it; setpriv is part of every Debian."""
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


@contextmanager
def _subscription(port: int) -> Iterator[SimpleQueue[Message]]:
    from edge.mqtt.broker import log_in, log_out, make_client

    inbox: SimpleQueue[Message] = SimpleQueue()
    broker = Mqtt(host="127.0.0.1", port=port, protocol="3.1.1")
    client = make_client(broker, "edge-inspect-demo")
    client.on_message = lambda _client, _data, message: inbox.put(_decode(message))
    log_in(client, broker)
    client.on_connect = _subscribe  # Again, after the machine slept for example.
    _subscribe(client)
    try:
        yield inbox
    finally:
        log_out(client)


def _subscribe(client: Any, *_: object) -> None:
    client.subscribe([(f"inspect/v1/demo/+/{name}", 1) for name in _SHOWN])


def _decode(message: Any) -> Message:
    kind = MESSAGES[message.topic.rpartition("/")[2]]
    decoded: Message = msgspec.json.decode(message.payload, type=kind)
    return decoded


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + BROKER_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BrokerError(f"the demo's broker did not start within {BROKER_SECONDS:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
