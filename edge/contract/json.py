"""What can be wrong with JSON from outside."""

from __future__ import annotations

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON of the wanted type: the second for strings that are not UTF-8, the
third for what is nested too deep."""
