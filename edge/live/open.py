"""Opens what shows the daemon on the device itself: a file for `edge-inspect top`, and a port for Prometheus."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from edge.live import door
from edge.live.snapshot import FILE, Snapshot, glance
from edge.state import state_dir
from edge.threads import within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config import Config
    from edge.line import Line


_END_SECONDS = 0.1


@contextmanager
def shown(line: Line, config: Config) -> Iterator[None]:
    """Let a line be looked at for a while. What cannot be opened yet the status names; judging goes on."""
    with ExitStack() as stack:

        def look() -> Snapshot:
            return _snapshot(line, config)

        def listen(part: str, remedy: str, place: door.Place, answer: door.Answer) -> None:
            def hear(error: OSError | None) -> None:
                line.sinks.publisher.report(part, f"{remedy} ({error.strerror})" if error else "")

            stack.callback(door.Door(place, answer, hear).close)

        path = state_dir(config) / FILE
        stack.callback(_forget, path)
        remedy = f"edge-inspect top cannot look in: {path} cannot be made"
        listen("top", remedy, lambda: door.at_file(path), door.tell(lambda: msgspec.json.encode(look())))
        if port := config.prometheus.port:
            from edge.live.metrics import text

            remedy = f"port {port} of {door.HOST} cannot be used; set prometheus.port to a free one"
            listen("prometheus", remedy, lambda: door.at_port(port), door.serve_metrics(lambda: text(look())))
        yield


def _forget(path: Path) -> None:
    """Leave no socket behind: it answers nobody any more, and many a program that copies a folder fails at one."""

    def forget() -> None:
        with suppress(OSError):  # The next life makes its own in the place of it.
            path.unlink()

    within(_END_SECONDS, forget)


def _snapshot(line: Line, config: Config) -> Snapshot:
    publisher, silent = line.sinks.publisher, line.watchdog.silent
    return Snapshot(
        site=config.device.site,
        device=config.device.id,
        broker=f"{config.mqtt.host}:{config.mqtt.port}",
        connected=bool(publisher.link.connected),
        silent_s=None if math.isinf(silent) else round(silent, 3),
        status=publisher.condition.present(),
        info=line.info,
        model=line.model,
        health=line.tally.sum_up(),
        last=[glance(event) for event in line.tally.last],
    )
