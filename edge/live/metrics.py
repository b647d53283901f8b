"""A snapshot as Prometheus reads it: its text format, version 0.0.4.

Names and units follow https://prometheus.io/docs/practices/naming: seconds, bytes, and `_total` behind what is counted.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, get_type_hints

from edge.contract.messages import Accelerator, Health, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import msgspec

    from edge.live.snapshot import Snapshot

_PREFIX = "edge_inspect_"
_MIB = float(1 << 20)
_COUNTED = (
    *("frames_captured", "frames_dropped", "frames_judged", "camera_failures", "triggers_refused", "switches_late"),
    *("messages_lost", "pictures_lost", "commands_overlooked", "commands_refused", "connections_failed"),
)
_GAUGES = {
    "uptime_s": ("uptime_seconds", 1.0),
    "fps": ("frames_per_second", 1.0),
    "triggers_waiting": ("triggers_waiting", 1.0),
    "judging_share": ("judging_ratio", 1.0),
    "verdicts_unwritten": ("verdicts_unwritten", 1.0),
    "messages_waiting": ("messages_waiting", 1.0),
    "notes_waiting": ("notes_waiting", 1.0),
    "pictures_waiting": ("pictures_waiting", 1.0),
    "rss_mib": ("resident_memory_bytes", _MIB),
}
"""Of `health`: a field's name there, here, and its unit in Prometheus' own."""
_MACHINE = {
    "cpu_c": ("cpu_temperature_celsius", 1.0),
    "slowed": ("cpu_slowed", 1.0),
    "under_voltage": ("under_voltage", 1.0),
    "cores": ("cores", 1.0),
    "load": ("load", 1.0),
    "cpu_share": ("busy_cores", 1.0),
    "memory_available_mib": ("memory_available_bytes", _MIB),
    "worker_rss_mib": ("worker_resident_memory_bytes", _MIB),
    "disk_free_mib": ("disk_free_bytes", _MIB),
    "descriptors": ("open_descriptors", 1.0),
    "threads": ("threads", 1.0),
}
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


def text(seen: Snapshot) -> str:
    """Return all metrics, a line each, with what they mean before them."""
    return "".join(f"{line}\n" for line in _lines(seen))


def _lines(seen: Snapshot) -> Iterator[str]:
    info, model, health = seen.info, seen.model, seen.health
    build = {"version": info.version, "python": info.python, "platform": info.platform, "runtime": info.runtime}
    yield from _family("build_info", "gauge", "what runs; always 1", [(build, 1)])
    judges = {"name": model.name, "sha256": model.sha256, "bundle_sha256": model.bundle_sha256}
    yield from _family("model_info", "gauge", "what judges; always 1", [(judges, 1)])
    degraded, why = seen.status.state == "degraded", "1: something is wrong, the status says what"
    yield from _family("degraded", "gauge", why, [({}, degraded)])
    yield from _family("paused", "gauge", "1: by command, nothing is judged", [({}, seen.status.paused)])
    yield from _family("broker_connected", "gauge", "1: connected to the MQTT broker", [({}, seen.connected)])
    if seen.silent_s is not None:
        why = "since the line last said that nothing hangs, which it does once a second"
        yield from _family("silent_seconds", "gauge", why, [({}, seen.silent_s)])
    means = _meanings(Health)
    verdicts = [({"verdict": verdict}, health.verdicts.get(verdict, 0)) for verdict in Verdict]
    yield from _family("verdicts_total", "counter", "verdicts since the daemon's start", verdicts)
    for name in _COUNTED:
        yield from _family(f"{name}_total", "counter", means[name], [({}, getattr(health, name))])
    yield from _gauges(health, _GAUGES)
    yield from _latencies(health)
    if health.machine is not None:
        yield from _gauges(health.machine, _MACHINE)
    if health.accelerator is not None:
        yield from _accelerator(health.accelerator)


def _gauges(message: msgspec.Struct, names: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    means = _meanings(type(message))
    for field, (name, factor) in names.items():
        if (value := getattr(message, field)) is not None:
            yield from _family(name, "gauge", means[field], [({}, value * factor)])


def _latencies(health: Health) -> Iterator[str]:
    stages = health.stages_ms
    found = {"wait": stages.wait, "preprocess": stages.preprocess, "invoke": stages.invoke, "total": health.latency_ms}
    samples = [
        ({"stage": stage, "quantile": quantile}, round(percentiles.get(name, math.nan) / 1e3, 9))
        for stage, percentiles in found.items()
        for name, quantile in _QUANTILES.items()
    ]
    yield from _family("latency_seconds", "summary", "where the time of the last interval's frames went", samples)


def _accelerator(state: Accelerator) -> Iterator[str]:
    means = _meanings(Accelerator)
    states = [({"state": each}, each == state.state) for each in ("opening", "accelerated", "cpu")]
    yield from _family("accelerator", "gauge", means["state"], states)
    for name in ("failures", "invokes"):
        yield from _family(f"accelerator_{name}_total", "counter", means[name], [({}, getattr(state, name))])
    yield from _gauges(state, {"temperature_c": ("accelerator_temperature_celsius", 1.0)})


def _family(name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {_escaped(meaning)}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        said = ",".join(f'{key}="{_escaped(text, quotes=True)}"' for key, text in labels.items())
        yield f"{_PREFIX}{name}{f'{{{said}}}' if said else ''} {_number(value)}"


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.15g}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    plain = text.replace("\\", r"\\").replace("\n", r"\n")
    return plain.replace('"', r"\"") if quotes else plain


@cache
def _meanings(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    """Return what the contract says of each field: once, for to find it takes most of an answer's time."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        words = [each.description for each in getattr(hint, "__metadata__", ()) if each.description]
        found[name] = words[-1] if words else name.replace("_", " ")
    return found
