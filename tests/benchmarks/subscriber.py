"""A plain subscriber in a process of its own: prints the time of arrival and the body of every event.

`python subscriber.py PORT`; its first line, "ready", says that the broker has the subscription.
"""

import sys
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    """Subscribe and print until the broker goes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe("inspect/v1/+/+/event", qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = _show
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.loop_forever()


def _show(_client: Any, _data: Any, message: Any) -> None:
    arrived = time.time()
    print(arrived, message.payload.decode(), flush=True)


if __name__ == "__main__":
    main()
