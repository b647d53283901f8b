"""What the daemon shows of itself on its own device: to `top` through a file, to Prometheus through a port."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from conftest import free_port
from device import running_daemon, stop, write_config
from hypothesis import given
from hypothesis import strategies as st
from live_samples import SEEN, samples
from recorder import Recorder
from spark_host import until

from edge.contract.messages import encode
from edge.errors import InspectError
from edge.live import door
from edge.live.snapshot import FILE, decode, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Broker

SYNTHETIC = {"kind": "synthetic", "rate": 20, "width": 64, "height": 64}


def get(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    """Ask over HTTP; returns status and body."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request(method, path)
    answer = link.getresponse()
    body = answer.read().decode()
    link.close()
    return answer.status, body


@contextmanager
def at_a_port(text: Callable[[], str]) -> Iterator[int]:
    """Serve metrics at a free port."""
    port = free_port()
    opened = door.Door(lambda: door.at_port(port), door.serve_metrics(text))
    yield port
    opened.close()


# --- the port


@given(st.binary(max_size=200))
def test_whatever_is_asked_is_answered_by_a_status(request: bytes) -> None:
    """Bytes that are no request are a bad one."""
    assert door.status_of(request)[:3] in {"200", "400", "404", "405"}
    assert door.status_of(b"GET /metrics?" + request.replace(b"\r", b"").replace(b" ", b"")) == "400 Bad Request"


def test_only_metrics_are_there_to_be_had() -> None:
    """Another path, another method and a query are answered as HTTP has it."""
    with at_a_port(lambda: "edge_inspect_degraded 0\n") as port:
        assert get(port) == (200, "edge_inspect_degraded 0\n")
        assert get(port, "/metrics?name=x")[0] == 200
        assert get(port, "/")[0] == 404
        assert get(port, method="POST")[0] == 405


def test_who_says_nothing_or_hears_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a caller without a word, nor one who drips, nor one who never reads keeps the next one out for long."""
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.3)
    with at_a_port(lambda: "x" * 50_000_000) as port:
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        callers[1].sendall(b"GET /met")
        callers[2].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert get(port, "/")[0] == 404
        for each in callers:
            each.close()


def test_a_fault_in_an_answer_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks next is answered, and the log names what went wrong."""
    faults = [ValueError("broken")]

    def text() -> str:
        if faults:
            raise faults.pop()
        return "fine"

    with at_a_port(text) as port:
        with pytest.raises(http.client.HTTPException):
            get(port)
        assert get(port) == (200, "fine")
    assert "broken" in caplog.text


# --- the file


def test_a_snapshot_comes_as_it_is(tmp_path: Path) -> None:
    """However long the folder's name, which the kernel takes for no socket's, and after a life that was killed."""
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    path = folder / FILE
    for _ in range(2):
        opened = door.Door(lambda: door.at_file(path), door.tell(lambda: encode(SEEN)))
        assert fetch(path) == SEEN
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        opened.close()
    with pytest.raises(InspectError, match=r"no daemon answers at .*refused.*systemctl"):
        fetch(path)
    with pytest.raises(InspectError, match="no daemon answers"):
        fetch(tmp_path / "nowhere" / FILE)


@given(st.binary() | st.builds(json.dumps, st.dictionaries(st.text(), st.integers())).map(str.encode))
def test_an_answer_of_something_else_is_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever listens there, what it says is a snapshot or an error that says so."""
    with pytest.raises(InspectError, match="does not understand"):
        decode(data, tmp_path_factory.getbasetemp() / FILE)


def test_who_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that hangs in the middle of its answer is reported as one that does not answer."""
    monkeypatch.setattr("edge.live.snapshot._SECONDS", 0.3)
    let_go = threading.Event()

    def drip(caller: socket.socket, _: float) -> None:
        caller.sendall(b"{")
        let_go.wait(30)

    opened = door.Door(lambda: door.at_file(tmp_path / FILE), drip)
    began = time.monotonic()
    with pytest.raises(InspectError, match="no daemon answers"):
        fetch(tmp_path / FILE)
    assert time.monotonic() - began < 20
    let_go.set()
    opened.close()


# --- the real daemon


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_the_daemon_shows_itself_while_the_broker_is_away(tmp_path: Path, demo_bundle: Path) -> None:
    """File and port tell the same counts as they are at that moment, and descriptors do not grow by asking."""
    port = free_port()
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera=SYNTHETIC,
        mqtt={"host": "127.0.0.1", "port": free_port()},
        prometheus={"port": port},
        health_every_s=3600,
    )
    path = tmp_path / "state" / FILE
    with running_daemon(config) as daemon:
        until(path.exists)
        until(lambda: fetch(path).health.frames_judged > 5)
        until(lambda: fetch(path).health.machine is not None)
        before, metric, after = fetch(path), samples(get(port)[1]), fetch(path)
        assert before.health.frames_judged <= metric["edge_inspect_frames_judged_total"] <= after.health.frames_judged
        assert (after.connected, metric["edge_inspect_broker_connected"]) == (False, 0)
        assert after.last
        assert after.health.latency_ms["p99"] > 0
        assert after.silent_s is not None
        open_before = descriptors(daemon.pid)
        for _ in range(10):
            get(port)
            fetch(path)
        until(lambda: descriptors(daemon.pid) <= open_before + 1)
        stop(daemon)
        assert daemon.returncode == 0
    assert not path.exists(), "a socket that nobody answers"


def test_a_port_that_is_taken_is_said_and_judged_on(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """The status names the key, the port and the remedy; verdicts come all the same."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        config = write_config(
            tmp_path / "device.toml",
            bundle=demo_bundle,
            camera=SYNTHETIC,
            mqtt={"host": "127.0.0.1", "port": broker.port},
            prometheus={"port": taken},
        )
        with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
            reason = recorder.wait_for_status("degraded")["reason"]
            assert reason.startswith(f"port {taken} of 127.0.0.1 cannot be used; set prometheus.port to a free one")
            seen = len(recorder.named("event"))
            recorder.wait_for("event", seen + 3)
            stop(daemon)


def test_a_port_is_had_once_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was taken at the start is tried again until it answers, and what was said of it is taken back."""
    monkeypatch.setattr(door, "AGAIN_SECONDS", 0.05)
    heard: SimpleQueue[OSError | None] = SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        opened = door.Door(lambda: door.at_port(port), door.serve_metrics(lambda: "x 1\n"), heard.put)
        assert isinstance(heard.get(timeout=10), OSError)
    while heard.get(timeout=10) is not None:
        pass
    assert get(port) == (200, "x 1\n")
    opened.close()


def test_a_file_that_cannot_be_made_is_said_and_judged_on(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Whatever lies in the socket's place, the status says that nobody can look in, and verdicts come."""
    (tmp_path / "state" / "live.new").mkdir(parents=True)
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=SYNTHETIC, mqtt=mqtt)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        reason = recorder.wait_for_status("degraded")["reason"]
        assert reason.startswith("edge-inspect top cannot look in")
        assert FILE in reason
        seen = len(recorder.named("event"))
        recorder.wait_for("event", seen + 3)
        stop(daemon)


def test_a_folder_whose_name_is_no_text_ends_nothing(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A path that no message can hold as it is comes escaped in `status`, and judging goes on."""
    folder = tmp_path / "teil-\udcfc"
    (folder / "state" / FILE / "in the way").mkdir(parents=True)
    config = write_config(
        folder / "device.toml", bundle=demo_bundle, camera=SYNTHETIC, mqtt={"host": "127.0.0.1", "port": broker.port}
    )
    with Recorder(broker.port) as recorder, running_daemon(config):
        assert rf"teil-\udcfc/state/{FILE} cannot be made" in recorder.wait_for_status("degraded")["reason"]
        recorder.wait_for("event", len(recorder.named("event")) + 1)
