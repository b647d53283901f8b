"""Sparkplug without a broker: what any bytes do to a node's readers, and that its generated code is the schema's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from conftest import PROJECT
from device import end, run_inspect, running_daemon, write_config
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_samples import row
from spark_line import BOOLEAN, DOUBLE, INT64, STRING, TOLD, distinct, expected

from edge import config as configs
from edge.contract.messages import Gap, Verdict, encode
from edge.errors import ConfigError
from edge.ledger.rows import Row
from edge.sparkplug import payload
from edge.sparkplug.host import Host
from edge.sparkplug.memory import BIRTHS, SETTLED_SECONDS, Kept, Memory, Progress
from edge.sparkplug.session import Topics

GENERATED = ("sparkplug_b_pb2.py", "sparkplug_b_pb2.pyi")


def parsed(**sparkplug: str) -> configs.Config:
    """The configuration with a [sparkplug] table."""
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "device": {"id": "dut"}, "sparkplug": sparkplug}
    return configs.parse(table, Path("/etc/device.toml"))


@st.composite
def commands(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A proper command, and whether a rebirth is in it."""
    command = payload.Payload(timestamp=1)
    names = draw(st.lists(st.sampled_from([payload.REBIRTH, "Node Control/Reboot", "", "x"]), max_size=4))
    asked = False
    for name in names:
        value = draw(st.sampled_from([True, False, None, "true", 1]))
        metric = command.metrics.add(name=name)
        match value:
            case bool():
                metric.boolean_value = value
            case None:
                metric.is_null = True
            case str():
                metric.string_value = value
            case _:
                metric.int_value = value
        asked = asked or (name == payload.REBIRTH and value is True)
    return command.SerializeToString(), asked


@given(commands())
def test_only_a_true_rebirth_is_one(case: tuple[bytes, bool]) -> None:
    """A command asks for a rebirth by a metric of that name that is true, among whatever else."""
    command, asked = case
    assert payload.asks_rebirth(command) is asked


@given(st.binary(max_size=300), commands(), st.integers(0, 400))
def test_any_bytes_may_be_a_command(junk: bytes, case: tuple[bytes, bool], at: int) -> None:
    """Random bytes, alone and within a proper command, are a rebirth or none, and never an error."""
    command, _ = case
    for each in (junk, command[:at] + junk + command[at:], command[:at]):
        assert payload.asks_rebirth(each) in {True, False}


def test_deep_and_huge_commands_are_none() -> None:
    """Templates within templates without end, and more than a command may have, are read to no end."""
    deep = b""
    for _ in range(3_000):
        deep = b"\x92\x01" + _varint(len(deep)) + deep  # template_value ...
        deep = b"\x12" + _varint(len(deep)) + deep  # ... of a metric.
    assert payload.asks_rebirth(deep) is False
    assert payload.asks_rebirth(bytes(10 << 20)) is False


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


@given(st.binary(max_size=200) | st.sampled_from([b"[" * 5_000, b'{"online":true,"timestamp":1e999}', b"1" * 9_000]))
@example(b'{"online": false, "timestamp": 5, "x": ' + b"[" * 9_000)
@example(b'{"x":' * 1_900)
def test_any_bytes_may_be_a_state(junk: bytes) -> None:
    """A STATE of any bytes but proper ones leaves a host as it was."""
    host = Host("scada")
    host.hear(b'{"online": true, "timestamp": 5}')
    host.hear(junk)
    assert host.online is True
    host.hear(b'{"online": false, "timestamp": 5, "more": []}')
    assert host.online is False


@given(st.binary(max_size=100).filter(lambda junk: not junk.strip().startswith(b"{")))
def test_a_damaged_memory_has_everything_sent_again(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    """Whatever is in a node's file it starts; what cannot be read counts as nothing sent."""
    path = tmp_path_factory.mktemp("memory") / "sparkplug.json"
    path.write_bytes(junk)
    kept = Memory(path).kept
    assert kept == Kept(cursor=0)
    assert 0 <= kept.bd_seq < BIRTHS


@pytest.mark.parametrize(
    "content", [b'{"x": ' + b"[" * 100_000, b'{"x":' * 100_000, b'{"\xff": "\xff", "cursor": "\xff"}']
)
def test_a_memory_of_brackets_counts_as_nothing_sent(tmp_path: Path, content: bytes) -> None:
    """A node's file that is nested without end, or is no text, keeps no node from starting either."""
    path = tmp_path / "sparkplug.json"
    path.write_bytes(content)
    assert Memory(path).kept == Kept(cursor=0)


def test_a_memory_is_kept(tmp_path: Path) -> None:
    """A node's file says after a start what was written before it; a folder without room for it is told."""
    path = tmp_path / "sparkplug.json"
    Memory(path).keep(Kept(bd_seq=7, cursor=9))
    assert Memory(path).kept == Kept(bd_seq=7, cursor=9)
    nowhere = Memory(tmp_path / "none" / "sparkplug.json")
    nowhere.keep(Kept(bd_seq=1))
    assert "none" in nowhere.trouble
    assert nowhere.kept.bd_seq == 1


def test_what_was_read_lately_is_not_settled_yet() -> None:
    """A batch counts as arrived when nothing went wrong for a while, from the first time that it was read."""
    progress = Progress(5)
    progress.reach(20, 10.0)
    progress.reach(30, 11.0)
    progress.reach(25, 11.5)
    assert (progress.settled(11.9), progress.last) == (5, 30)
    assert progress.settled(10.1 + SETTLED_SECONDS) == 20
    assert progress.settled(11.1 + SETTLED_SECONDS) == 30


@pytest.mark.parametrize("json", [b'{"seq": 7}', b'{"x": ' + b"[" * 100_000, b'{"id": "\xff"}'])
def test_a_row_of_another_version_is_a_gap(json: bytes) -> None:
    """A verdict that this version cannot read does not hold up the others: it is told as a gap of one."""
    odd = Row(7, Verdict.DEFECT, json)
    gap = Gap(first=7, last=7, reason="damaged", verdicts={Verdict.DEFECT: 1})
    assert payload.sample(odd, historical=True).values == payload.sample(gap, historical=True).values


def test_each_metric_tells_what_it_is_called() -> None:
    """A birth certificate with a verdict has each of its metrics once, with its type and the verdict's own value."""
    given = Row(7, Verdict.PASS, encode(msgspec.structs.replace(distinct(7), seq=7)))
    born = payload.Payload.FromString(payload.birth(3, [payload.sample(given, historical=False)]))
    fields = {INT64: "long_value", DOUBLE: "double_value", BOOLEAN: "boolean_value", STRING: "string_value"}
    told = [metric for metric in born.metrics if metric.name.startswith("Inspection/")]
    assert {metric.name: metric.datatype for metric in told} == {name: kind for name, (kind, _) in TOLD.items()}
    assert [metric.WhichOneof("value") for metric in told] == [fields[metric.datatype] for metric in told]
    assert {metric.name: getattr(metric, fields[metric.datatype]) for metric in told} == expected(given)
    assert len(set(map(str, expected(given).values()))) == len(told) == len(TOLD), "two could be swapped unseen"


def test_metrics_are_in_the_order_of_their_times() -> None:
    """In a payload the oldest values come first, and only what is historical is marked so."""
    early, late = payload.sample(row(1), historical=True), payload.sample(row(2), historical=False)
    told = payload.Payload.FromString(payload.data(3, [late, early]))
    stamps = [metric.timestamp for metric in told.metrics]
    assert stamps == sorted(stamps)
    assert [metric.is_historical for metric in told.metrics] == [True] * 13 + [False] * 13
    assert told.seq == 3


def test_names_are_told_apart_without_regard_to_case() -> None:
    """No two metrics differ in their case only, as the specification advises."""
    assert len({name.lower() for name in payload.METRICS}) == len(payload.METRICS)


@pytest.mark.parametrize(
    "wrong", [{"group_id": "a/b"}, {"group_id": "a", "edge_node_id": "#"}, {"primary_host_id": "h"}]
)
def test_ids_that_cannot_be_are_refused(wrong: dict[str, str]) -> None:
    """An id that is no level of a topic, or does nothing without a group, is a configuration error."""
    with pytest.raises(ConfigError, match="sparkplug"):
        parsed(**wrong)


def test_a_node_is_called_by_its_device() -> None:
    """Without a name of its own an edge node has the device's, and any language's letters and spaces will do."""
    assert Topics.by(parsed(group_id="Halle Süd 1")).of("NDATA") == "spBv1.0/Halle Süd 1/NDATA/dut"
    assert Topics.by(parsed(group_id="g", edge_node_id="Prüfer 3")).of("NCMD") == "spBv1.0/g/NCMD/Prüfer 3"


def test_a_missing_protobuf_is_one_clear_line(tmp_path: Path, demo_bundle: Path) -> None:
    """A daemon that shall speak Sparkplug and lacks its package ends at once and says what to install."""
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "__init__.py").write_text("")
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic"},
        mqtt={"port": 1},
        sparkplug={"group_id": "g"},
    )
    with running_daemon(config, {"PYTHONPATH": f"{tmp_path}:{PROJECT}"}) as daemon:
        said = end(daemon)
        assert daemon.returncode == ConfigError.exit_code
    assert "Traceback" not in said
    assert "pip install 'edge-inspect[sparkplug]'" in said.strip().splitlines()[-1]


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """The committed module is what protoc makes of sparkplug_b.proto; after a change: make proto."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    arguments = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "edge/sparkplug/sparkplug_b.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=PROJECT, check=True)
    for name in GENERATED:
        fresh = tmp_path / "edge" / "sparkplug" / name
        assert fresh.read_text() == (PROJECT / "edge" / "sparkplug" / name).read_text()


def test_a_check_names_the_node(tmp_path: Path, demo_bundle: Path) -> None:
    """`edge-inspect check` says under which topics SCADA finds this device."""
    camera, mqtt, sparkplug = {"kind": "synthetic"}, {"port": 1883}, {"group_id": "Line 1"}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt, sparkplug=sparkplug)
    checked = run_inspect("check", "--config", config)
    assert checked.returncode == 0, checked.stderr
    assert "ok  sparkplug      spBv1.0/Line 1/+/dut\n" in checked.stdout
