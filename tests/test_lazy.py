"""Postponed imports: nothing is loaded before it is used, and then all of it is there."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    """Run a program in a fresh interpreter and return what it printed."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_mqtt_client_comes_without_http() -> None:
    """With urllib.request postponed, importing the MQTT client loads neither it nor http and email below it."""
    code = (
        "import sys; from edge.lazy import postpone; postpone('urllib.request'); import paho.mqtt.client; "
        "print(sorted({'http.client', 'email.parser'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_a_postponed_module_is_whole_when_used() -> None:
    """The first use, by whichever way of importing, gives the real module's content."""
    code = (
        "from edge.lazy import postpone; postpone('urllib.request'); import urllib.request; "
        "from urllib.request import Request; import http.client; "
        "print(Request('http://a/b').host, callable(urllib.request.urlopen), urllib.request.Request is Request)"
    )
    assert run(code) == "a True True"


def test_what_is_loaded_stays() -> None:
    """A module that is loaded already is left as it is."""
    code = (
        "import urllib.request as before; from edge.lazy import postpone; postpone('urllib.request'); "
        "import urllib.request as after; print(before is after)"
    )
    assert run(code) == "True"


def test_an_unknown_name_in_it_is_an_attribute_error() -> None:
    """Asking for what the module does not have fails as for any module, so that hasattr works."""
    code = (
        "from edge.lazy import postpone; postpone('urllib.request'); import urllib.request; "
        "print(hasattr(urllib.request, 'proxy_bypass'), hasattr(urllib.request, 'nothing'))"
    )
    assert run(code) == "True False"
