"""What a device wants to hear and the broker does not let it: that is said, not passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import make_broker
from recorder import Recorder
from spark_host import GROUP, HOST, NODE, SparkHost, until
from spark_line import Line as SparkLine
from test_publisher import Line

if TYPE_CHECKING:
    from conftest import Broker

PLUGIN = "mosquitto_dynamic_security.so"
COMMANDS = "inspect/v1/test/dut/cmd/+"
UPTIME = "$SYS/broker/uptime"


def forbid(folder: Path, *topics: str) -> None:
    """Write rules that let everybody do everything, but subscribe to these."""
    everything = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
    acls = [{"acltype": "subscribeLiteral", "topic": topic, "priority": 0, "allow": False} for topic in topics]
    rules = {
        "defaultACLAccess": dict.fromkeys(everything, True),
        "roles": [{"rolename": "all", "acls": acls}],
        "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
        "anonymousGroup": "all",
    }
    (folder / "rules.json").write_text(json.dumps(rules))
    (folder / "rules.json").chmod(0o600)


def forbidding(folder: Path, *topics: str) -> Broker:
    """Start a broker that refuses these subscriptions; its access file would take them and send nothing."""
    found = next((path for root in ("/usr/lib", "/opt") for path in Path(root).rglob(PLUGIN)), None)
    if found is None:
        pytest.skip(f"{PLUGIN} is not installed: it comes with mosquitto")
    forbid(folder, *topics)
    broker = make_broker(
        folder, "allow_anonymous true", f"plugin {found}", f"plugin_opt_config_file {folder}/rules.json"
    )
    broker.start()
    return broker


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_commands_that_are_not_heard_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str) -> None:
    """A broker that does not let a device hear its commands makes it degraded, with the topic and what to check."""
    broker = forbidding(tmp_path, COMMANDS, UPTIME)
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port, allow=["pause"], protocol=protocol)
        reason = recorder.wait_for_status("degraded")["reason"]
        assert reason.startswith(f"the broker does not let us hear {COMMANDS} (")
        assert reason.endswith("; check its access rules, and whose mqtt.cert_file is")
        assert UPTIME not in reason, "no broker but mosquitto has it"
        assert reason in caplog.messages
        broker.stop()
        forbid(tmp_path)
        broker.start()
        recorder.wait_for_status("online", 40)
        line.stop(5)
    broker.stop()


@pytest.mark.parametrize("host", ["", HOST])
def test_a_node_that_is_not_heard_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A Sparkplug node that cannot hear a host's wishes, or whether it is there, names the topic it is refused."""
    monkeypatch.setattr("edge.sparkplug.node.PATIENCE_SECONDS", 0.0)
    topic = f"spBv1.0/STATE/{HOST}" if host else f"spBv1.0/{GROUP}/NCMD/{NODE}"
    broker = forbidding(tmp_path, topic)
    with SparkHost(broker.port) as scada:
        line = SparkLine(tmp_path, broker.port, primary_host_id=host)
        line.judge(3)
        if not host:
            scada.wait(lambda heard: heard.numbers() == [1, 2, 3])
        until(lambda: "hear" in line.node.trouble())
        assert line.node.trouble().startswith(f"the broker does not let us hear {topic} (")
        line.node.stop(1)
        line.ledger.close(10)
    broker.stop()
