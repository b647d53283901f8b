"""A device without camera and model, as a process: gives verdicts as fast as asked, and says how it fares.

python judging.py CONFIG       then a word a line: `judge N`, `defect`, `delivered`, `stop`; each is answered by a line
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from ledger_samples import BOOT, event

from edge import config as configs
from edge.alarm import AlarmState
from edge.contract.messages import Verdict
from edge.daemon import state_dir
from edge.health import rss_mib
from edge.ledger.ledger import Ledger
from edge.publisher import Publisher

AT_ONCE = 2_000
"""Verdicts appended before they are waited for: memory must not be what holds them."""


def main() -> None:
    """Serve until `stop`."""
    config = configs.load(Path(sys.argv[1]))
    ledger = Ledger(state_dir(config), config.ledger.events_mib << 20)
    publisher = Publisher(config, BOOT, ledger)
    alarms = AlarmState()
    publisher.start()
    ledger.start(publisher.written)
    for line in sys.stdin:
        match line.split():
            case ["judge", count]:
                for number in range(1, int(count) + 1):
                    ledger.append(event())
                    if number % AT_ONCE == 0:
                        ledger.flush(60)
                ledger.flush(60)
            case ["defect"]:
                verdict = event(verdict=Verdict.DEFECT)
                ledger.append(verdict)
                alarm = alarms.after(verdict)
                assert alarm is not None
                publisher.retain(f"alarm/{verdict.camera}", alarm)
            case ["delivered"]:
                while ledger.waiting:
                    time.sleep(0.05)
            case ["stop"]:
                break
        print(f"{time.monotonic()} {rss_mib()}", flush=True)
    publisher.stop("stopped", 10, threading.Event())
    ledger.close(10)


if __name__ == "__main__":
    main()
