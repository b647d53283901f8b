"""Imported by each command before all else: from here until the command runs, Ctrl-C ends it without a word.

Python itself would show a traceback of whatever was just being imported, and imports are most of a short command.
"""

from __future__ import annotations

# What `signal` wraps: Python has it from its start, so that nothing can break in before the next line.
import _signal  # type: ignore[import-not-found]

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # Else a shell had it ignored, and so it stays.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
