"""INTEGRATIONS.md: its commands, its database and its dashboard do with a real device what the page says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Broker, free_port, make_broker, need_mosquitto
from device import running_daemon, write_config
from pages import FOLDER, PAGE, Shell, block, commands
from postgres import running_postgres
from recorder import Recorder
from rigs import deploy, need

from edge import config as configurations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERDICTS = {"PASS", "DEFECT", "UNKNOWN"}
ALLOWED = ["health", "pause", "resume", "replay"]
NAMES = "export BROKER="
"""In the block that says who is who: the test says who it is."""
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
TIMES = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")


@contextmanager
def line(folder: Path, broker: Broker, bundle: Path, **mqtt: object) -> Iterator[Recorder]:
    """Run a device test/dut that allows what the page asks of it, until it has judged something."""
    config = write_config(
        folder / "device.toml",
        bundle=bundle,
        camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port, **mqtt},
        commands={"allow": ALLOWED},
        health_every_s=0.5,
    )
    operator = folder / "broker" / "operator.crt" if mqtt else None
    with running_daemon(config), Recorder(broker.port, certificate=operator) as recorder:
        recorder.wait_for("event", 10)
        yield recorder


@contextmanager
def shipped_broker(folder: Path) -> Iterator[tuple[Broker, dict[str, object]]]:
    """Run the broker that is shipped, and yield it with what [mqtt] of a device says."""
    need_mosquitto()
    port, files = free_port(), folder / "broker"
    for command in (
        ("broker", files, "--host", "127.0.0.1", "--port", port),
        ("certify", files, "test/dut"),
        ("certify", files, "operator"),
    ):
        assert deploy(*command).returncode == 0
    settings = files / "mosquitto.conf"
    settings.write_text(settings.read_text() + "user root\n")
    broker = Broker(port, settings)
    own = {"ca_file": "ca.crt", "cert_file": "test.dut.crt", "key_file": "test.dut.key"}
    broker.start()
    try:
        yield broker, {"tls": True, **{key: str(files / name) for key, name in own.items()}}
    finally:
        broker.stop()


def shell(folder: Path, broker: Broker, tls: bool, **variables: str) -> Shell:  # noqa: FBT001 - one of two
    """Return a reader's terminal after the page's first two steps."""
    for tool, package in (("mosquitto_sub", "mosquitto-clients"), ("jq", "jq"), ("bash", "bash")):
        need(tool, package)
    home = folder / "home"
    home.mkdir()
    values = {"BROKER": "127.0.0.1", "PORT": str(broker.port), "KEYS": str(folder / "broker")}
    values["DEVICE"] = "inspect/v1/test/dut"
    assert set(re.findall(r"export (\w+)=", block(NAMES))) == set(values)
    terminal = Shell(home, {**values, **variables})
    (plain, secure) = sorted((each for each in commands() if "mosquitto_$tool" in each), key=len)
    terminal.run(secure if tls else plain)
    return terminal


@pytest.fixture(params=["plain", "tls"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, demo_bundle: Path) -> Iterator[tuple[Shell, Recorder]]:
    """A terminal beside a running device, with and without TLS and certificates."""
    if request.param == "tls":
        with shipped_broker(tmp_path) as (broker, mqtt), line(tmp_path, broker, demo_bundle, **mqtt) as heard:
            yield shell(tmp_path, broker, tls=True), heard
        return
    broker = make_broker(tmp_path)
    broker.start()
    try:
        with line(tmp_path, broker, demo_bundle) as recorder:
            yield shell(tmp_path, broker, tls=False), recorder
    finally:
        broker.stop()


def test_every_command_of_the_page_works(desk: tuple[Shell, Recorder]) -> None:
    """Each command for a terminal shows what the page says, over TLS with a certificate and without."""
    terminal, recorder = desk
    left = [each for each in commands() if not re.search(r"psql|createuser|verdicts\.sh", each)]

    def take(word: str) -> str:
        left.remove(block(word))
        return block(word)

    take(NAMES)
    for each in [each for each in left if "mosquitto_$tool" in each]:
        left.remove(each)
    ask = take("ask() {")
    assert terminal.run(take("/status")) == "online \n"
    rows = terminal.watch(take("@tsv"), lambda text: text.count("\n") > 5).splitlines()[:5]
    assert {row.split("\t")[3] for row in rows} <= VERDICTS
    assert [int(row.split("\t")[0]) for row in rows] == list(range(int(rows[0].split("\t")[0]), 99_999))[:5]
    alarms = terminal.watch(take("alarm/+"), lambda text: "good\n" in text and "DEFECT" in text)
    assert re.search(r"^inspect/v1/test/dut/alarm/camera  DEFECT \w+$", alarms, re.MULTILINE)
    counted = terminal.run(take("uniq -c")).split()
    assert set(counted[1::2]) <= VERDICTS
    assert sum(map(int, counted[::2])) == 100
    terminal.watch(take("image/+"), lambda _: any(path.stat().st_size for path in terminal.home.glob("*.jpg")))
    pictures = [path for path in terminal.home.glob("*.jpg") if path.stat().st_size]
    assert all(path.read_bytes()[:2] == b"\xff\xd8" and len(path.stem) == 26 for path in pictures)
    file = terminal.home / "verdicts.jsonl"
    terminal.watch(take(file.name), lambda _: file.exists() and file.read_text().count("\n") > 5)
    assert {json.loads(row)["verdict"] for row in file.read_text().splitlines()[:5]} <= VERDICTS
    assert json.loads(terminal.run(ask + take("ask health")))["frames_judged"] > 0
    assert '"status":"ok"' in terminal.run(ask + take("ask pause"))
    assert terminal.run(block("/status")) == "degraded paused by command\n"
    assert '"status":"ok"' in terminal.run(ask + take("ask resume"))
    online = 'until [ "$(mosquitto_sub -C 1 -t $DEVICE/status | jq -r .state)" = online ]; do :; done'
    terminal.run(online)
    assert '"status":"ok"' in terminal.run(ask + take("ask replay"))
    recorder.wait(lambda r: {1, 2, 3, 4, 5} <= {event["seq"] for event in r.named("event") if event["historical"]})
    terminal.run(ask + block("ask pause"))
    terminal.run(take("mosquitto_pub -q"))
    terminal.run(online)
    assert left == [], "a command that no test runs"


def macros_expanded(sql: str) -> str:
    """Put in what Grafana does for the macros and variables that the dashboard uses, as its documentation says."""
    group = r"floor(extract(epoch from \1)/60)*60 AS \"time\""
    sql = re.sub(r"\$__timeGroupAlias\(([^),]*), \$__interval\)", group.replace('\\"', '"'), sql)
    sql = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN '{TIMES[0]}' AND '{TIMES[1]}'", sql)
    return sql.replace("$device", "'test/dut','test/other'")


def fill(terminal: Shell, command: str, enough: str) -> str:
    """Let a command fill the database until a query says that it is enough; return what the command printed."""
    return terminal.watch(command, lambda _: terminal.run(f'psql -X -A -t -c "{enough}"') == "t\n", 60)


def query(terminal: Shell, sql: str) -> list[dict[str, Any]]:
    """Run a query as Grafana's user, who may only read."""
    wrapped = f"SELECT coalesce(json_agg(r), '[]') FROM ({sql}) AS r"  # noqa: S608 - our own files
    command = f'psql -U grafana -X -A -t -c "{wrapped.replace(chr(34), chr(92) + chr(34))}"'
    rows: list[dict[str, Any]] = json.loads(terminal.run(command))
    return rows


def test_the_database_and_the_dashboard(tmp_path: Path, demo_bundle: Path) -> None:
    """Verdicts of a real device fill the tables once; a number that is missing shows; every panel has its figures.

    All that with the rights that the shipped broker gives an operator's certificate.
    """
    with (
        running_postgres() as variables,
        shipped_broker(tmp_path) as (broker, mqtt),
        line(tmp_path, broker, demo_bundle, **mqtt) as recorder,
    ):
        terminal = shell(tmp_path, broker, tls=True, **variables, USER="fitter")
        for name in ("verdicts.sql", "verdicts.sh"):
            shutil.copy(FOLDER / name, terminal.home)
        terminal.run(block("createuser").replace("sudo -u postgres ", "PGDATABASE=postgres "))
        terminal.become({"PGUSER": "fitter"})
        terminal.run(block("createdb verdicts"))
        terminal.run("psql -q -d verdicts -f verdicts.sql")  # Twice is as good as once.
        fill(terminal, block("./verdicts.sh"), "SELECT count(*) > 50 FROM event")
        say = "mosquitto_pub -q 1 -t inspect/v1/test/other"
        gap = f"{say}/gap -m '{json.dumps({'first': 3, 'last': 7, 'reason': 'shed', 'verdicts': {'PASS': 5}})}'"
        terminal.run(f"{say}/event -m '{{\"id\": 1}}'; {gap}; {gap}")
        terminal.run(f'{block("ask() {")} ask replay \'"first": 1, "last": 60\'')
        last = max(event.get("seq", 0) for event in recorder.named("event"))
        upto = f"FROM event WHERE seq <= {last + 20}"
        told = fill(terminal, "./verdicts.sh verdicts -h 127.0.0.1 -p $PORT", f"SELECT count(*) = {last + 20} {upto}")
        assert "violates not-null constraint" in told, "what is no verdict is told, and the rest goes on"
        assert told.count("ERROR") == 1
        assert query(terminal, "SELECT * FROM missing") == []
        assert query(terminal, "SELECT first, last, reason FROM gap") == [{"first": 3, "last": 7, "reason": "shed"}]
        for panel in DASHBOARD["panels"]:
            check(panel, query(terminal, macros_expanded(panel["targets"][0]["rawSql"])))
        assert query(terminal, DASHBOARD["templating"]["list"][1]["query"]) == [{"?column?": "test/dut"}]
        terminal.run("psql -q -d verdicts -c 'DELETE FROM event WHERE seq IN (10, 11)'")
        assert terminal.run(block("* FROM missing")).split("\n")[2].split(" | ")[1:] == ["dut   ", "   10", "  11"]
        assert terminal.run(block("min(seq)")).split("\n")[2].split(" | ")[:3] == [" test", "dut   ", "  1"]
        terminal.run(block("interval '1 year'"))


def check(panel: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Hold one panel's rows against what its kind needs."""
    title, kind = panel["title"], panel["type"]
    assert rows, title
    if kind == "stat":
        assert len(rows) == 1, title
        assert all(isinstance(value, int | float) for value in rows[0].values()), title
    if panel["targets"][0]["format"] == "time_series":
        assert set(rows[0]) == {"time", "metric", "value"}, title
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows), title


def test_the_dashboard_is_whole() -> None:
    """By checks of our own, after @grafana/schema: each panel has its own place, and one data source feeds all."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    sources = {json.dumps(target["datasource"]) for panel in DASHBOARD["panels"] for target in panel["targets"]}
    assert sources == {'{"type": "grafana-postgresql-datasource", "uid": "${datasource}"}'}
    assert {panel["type"] for panel in DASHBOARD["panels"]} == {"stat", "timeseries", "table"}


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """The unit that fills the database has no directive that systemd does not know."""
    unit = tmp_path / "verdicts.service"
    text = (FOLDER / "verdicts.service").read_text("utf-8")
    unit.write_text(text.replace("/usr/local/lib/verdicts/verdicts.sh", "/bin/true"))
    command = [need("systemd-analyze", "systemd"), "verify", "--recursive-errors=no", str(unit)]
    read = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def test_the_page_names_what_there_is() -> None:
    """Its links lead to files and headings, its files are all named, and its configuration is one a device accepts."""
    text = PAGE.read_text("utf-8")
    headings = {
        re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in re.findall(r"^#+ (.*)", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
    for path in FOLDER.iterdir():
        assert path.name == PAGE.name or f"`{path.name}`" in text, path.name
    (table,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert list(configurations.parse(tomllib.loads(table), PAGE).commands.allow) == ALLOWED
