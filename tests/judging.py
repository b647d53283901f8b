"""A device without camera and model, as a process: gives verdicts as fast as asked, and says how it fares.

python judging.py CONFIG       then a line each: `judge N`, `pace RATE SECONDS`, `defect`, `delivered`, `stop`

Each is answered by a line: when it began and ended, the most memory so far in MiB, and the bytes written so far, by
calls and by whole pages.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from ledger_samples import BOOT, event

from edge import config as configs
from edge.alarm import AlarmState
from edge.album import Album
from edge.contract.messages import Verdict
from edge.ledger.ledger import Ledger
from edge.mqtt.publisher import Publisher
from edge.state import state_dir

AT_ONCE = 2_000
"""Verdicts appended before they are waited for: memory must not be what holds them."""


def peak_mib() -> float:
    """Return the most memory that this process ever had resident (proc(5), VmHWM)."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def written() -> tuple[int, int]:
    """Return this process' bytes written so far: by its calls, and as the kernel counts them, in whole pages."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["wchar"]), int(counts["write_bytes"])


def judge(ledger: Ledger, count: int) -> None:
    """Append so many verdicts as fast as the disk takes them."""
    for number in range(1, count + 1):
        ledger.append(event())
        if number % AT_ONCE == 0:
            ledger.flush(60)
    ledger.flush(60)


def pace(ledger: Ledger, rate: float, seconds: float) -> None:
    """Append verdicts at a rate."""
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        ledger.append(event())
    ledger.flush(60)


def main() -> None:
    """Serve until `stop`."""
    config = configs.load(Path(sys.argv[1]))
    ledger = Ledger(state_dir(config), config.ledger.events_mib << 20)
    publisher = Publisher(config, BOOT, ledger, Album(state_dir(config), 1 << 20))
    alarms = AlarmState()
    publisher.start()
    ledger.start(publisher.written)
    for line in sys.stdin:
        began = time.monotonic()
        match line.split():
            case ["judge", count]:
                judge(ledger, int(count))
            case ["pace", rate, seconds]:
                pace(ledger, float(rate), float(seconds))
            case ["defect"]:
                verdict = event(verdict=Verdict.DEFECT)
                ledger.append(verdict)
                alarm = alarms.after([verdict])
                assert alarm is not None
                publisher.retain(f"alarm/{verdict.camera}", alarm)
            case ["delivered"]:
                while ledger.waiting:
                    time.sleep(0.05)
            case ["stop"]:
                break
        print(began, time.monotonic(), peak_mib(), *written(), flush=True)
    publisher.stop("stopped", 10, threading.Event())
    ledger.close(10)


if __name__ == "__main__":
    main()
