"""What Prometheus reads: every number of `health`, in its format."""

from __future__ import annotations

import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_samples import HEALTH, SEEN, samples

from edge.contract.messages import Accelerator, Health
from edge.live import metrics


def test_all_of_health_is_there() -> None:
    """Every number of `health` is a metric, in seconds and bytes, and counts are counters."""
    text = metrics.text(SEEN)
    found = samples(text)
    assert found["edge_inspect_frames_judged_total"] == 2
    assert found['edge_inspect_verdicts_total{verdict="PASS"}'] == 2
    assert found['edge_inspect_verdicts_total{verdict="DEFECT"}'] == 0
    assert found['edge_inspect_latency_seconds{stage="total",quantile="0.95"}'] == pytest.approx(0.002)
    assert math.isnan(found['edge_inspect_latency_seconds{stage="invoke",quantile="0.5"}'])
    assert found["edge_inspect_resident_memory_bytes"] == 50.5 * 2**20
    assert found["edge_inspect_cpu_temperature_celsius"] == 61.5
    assert (found["edge_inspect_degraded"], found["edge_inspect_broker_connected"]) == (0, 1)
    assert found["edge_inspect_silent_seconds"] == 0.5
    assert "edge_inspect_worker_resident_memory_bytes" not in found
    assert "# TYPE edge_inspect_frames_judged_total counter\n" in text
    assert "# TYPE edge_inspect_latency_seconds summary\n" in text
    assert text.endswith("\n")


def test_no_number_of_health_is_forgotten() -> None:
    """A field that `health` gets is shown to Prometheus too, or said to be no number of its own."""
    told = {*metrics._COUNTED, *metrics._GAUGES, "verdicts", "latency_ms", "stages_ms", "machine", "accelerator"}
    assert set(Health.__struct_fields__) == told | {"boot_id", "time"}
    assert {*metrics._MACHINE, "time"} == set(HEALTH.machine.__struct_fields__ if HEALTH.machine else ())


def test_an_accelerator_is_there_where_there_is_one() -> None:
    """Its state is one of three, its counts are counters, and a sensor it does not have is not made up."""
    state = Accelerator(kind="edgetpu", state="cpu", failures=3, invokes=4, temperature_c=None)
    found = samples(
        metrics.text(msgspec.structs.replace(SEEN, health=msgspec.structs.replace(HEALTH, accelerator=state)))
    )
    states = [found[f'edge_inspect_accelerator{{state="{name}"}}'] for name in ("opening", "accelerated", "cpu")]
    assert states == [0, 0, 1]
    assert found["edge_inspect_accelerator_failures_total"] == 3
    assert "edge_inspect_accelerator_temperature_celsius" not in found


@given(st.text())
def test_whatever_a_model_is_called_the_lines_stay_lines(name: str) -> None:
    """Quotes, line breaks and backslashes in a name come out as the format wants them."""
    text = metrics.text(msgspec.structs.replace(SEEN, model=msgspec.structs.replace(SEEN.model, name=name)))
    (line,) = [line for line in text.split("\n") if line.startswith("edge_inspect_model_info")]
    said = re.search(r'name="((?:[^"\\]|\\.)*)"', line)
    assert said is not None
    assert re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], said[1]) == name


def test_prometheus_own_reader_takes_it() -> None:
    """The official client's parser reads every family, with its kind."""
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    families = {family.name: family for family in parser.text_string_to_metric_families(metrics.text(SEEN))}
    assert families["edge_inspect_latency_seconds"].type == "summary"
    assert families["edge_inspect_verdicts"].type == "counter"
    assert sum(len(family.samples) for family in families.values()) == len(samples(metrics.text(SEEN)))
