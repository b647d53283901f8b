"""Which model a start judges with, and when a model has proven itself: a crash loop brings the former one back.

`config.bundle` is what is wanted, and is judged with from where it lies: a start copies nothing, and a state folder
that is full, read-only or damaged keeps no device from judging. A thread of its own copies it into a slot once it has
judged for KEPT_SECONDS, and marks it there as on trial; once it has judged for PROVEN_SECONDS it has proven itself, and
the mark goes. So a model that judged for seconds only is one to go back to as well, and however many fail on trial, one
that has proven itself keeps its slot.

- A wanted model that has not proven itself, and MOST_STARTS starts of which ended without a word, is refused: another
  one that is held judges, a proven one first, until something else is wanted or somebody says
  `edge-inspect model retry`. One that is on trial itself is better than a crash loop.
- One whose bundle, or which itself, cannot be used is not waited for: the other one judges at once. Each start tries it
  again, for what is wrong with it may be mended: a file, the runtime, the configuration.
- One that has proven itself is never left by itself, however often it crashes later: what has changed since is not the
  model, and another one would judge parts by an older rule without mending anything. The same holds for the one that
  was gone back to, so that two models never take turns. The status says that it crashes.
- An end that is not the model's fault (a stop, the camera, the broker, the configuration) is none without a word. No
  memory or no time to load it, as RuntimeUnavailableError says, counts, and so does a model that grows beyond the
  memory limit before it has proven itself: too large for this device is a way not to come up.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Self

from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, DataError, InspectError, MemoryLimitError, RuntimeUnavailableError
from edge.slots import choice as choices
from edge.slots import starts
from edge.slots.choice import RETRY, Choice, slot
from edge.threads import within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.classifier import Classifier
    from edge.config import Config
    from edge.contract.bundle import Bundle
    from edge.contract.messages import Event
    from edge.slots.choice import Place

log = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
"""Since the first prediction: a start's first verdicts wait for no copy, and what crashes at once is not copied."""
PROVEN_SECONDS = 60.0
"""The same; a leak or a driver that takes longer to fail is not told from a fault of the device."""
MOST_STARTS = 3
RETRY_SECONDS = 600.0
"""Until a copy of a proven model that could not be kept is tried once more."""
_END_SECONDS = 0.2
"""For an end to be counted, which has to be done within 2 s, whatever the disk does."""
_THE_MODELS = (MemoryLimitError, RuntimeUnavailableError)
"""Deliberate errors that count as a start in vain while a model is on trial."""


class Slots:
    """One start's choice of a model, and its trial. A context manager: how it is left says how the start ended."""

    def __init__(self, config: Config, folder: Path, report: Callable[[str], None]) -> None:
        """Prepare; `report` hears what is wrong, empty: nothing, before a model is loaded and at each `tend`."""
        self.decision = ""
        """What this start decided for later ones too: a model was refused; empty: nothing."""
        self._config = config
        self._folder = folder
        self._report = report
        self._stands_in = self._crashes = self._unkept = ""
        self._judging: Bundle | None = None
        self._due = self._proven_at = inf
        """On the monotonic clock: when it is to be kept next, and when it has proven itself."""

    @property
    def trouble(self) -> str:
        """What is wrong; empty: nothing."""
        return "; ".join(filter(None, (self._stands_in, self._crashes, self._unkept)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Count this start no more, unless it ended for what may be the model's fault."""
        is_a_word = isinstance(error, InspectError) and not isinstance(error, _THE_MODELS)
        if not is_a_word and isinstance(error, Exception):
            return
        if not within(_END_SECONDS, lambda: self._uncount(starts.forget_all, self._folder)):
            log.warning("%s: the disk hangs; this start may count as one without a word", self._folder)

    def load(self) -> Classifier:
        """Return the wanted model, or the one that stands in for it.

        Raises BundleError if neither can be used, RuntimeUnavailableError without a runtime.
        """
        try:
            wanted = self._read(self._config.bundle)
        except BundleError as error:
            if (other := self._stand_in(None, str(error), lasting=False)) is None:
                raise
            return other
        if why := self._why_not(wanted):
            return self._stand_in(wanted, why) or self._open(wanted)
        try:
            return self._open(wanted)
        except BundleError as error:
            if (other := self._stand_in(wanted, f"cannot be used ({error})", lasting=False)) is None:
                raise
            return other

    def judged(self, events: Sequence[Event]) -> None:
        """Hear of verdicts: from the first that a prediction led to, time is proof, however long no part comes."""
        if self._proven_at == inf and any(event.label is not None for event in events):
            now = time.monotonic()
            self._due, self._proven_at = now + KEPT_SECONDS, now + PROVEN_SECONDS

    def tend(self) -> None:
        """Report what is wrong, and have a thread keep the model once it has judged for long enough."""
        self._report(self.trouble)
        if (now := time.monotonic()) >= self._due:
            self._due, is_proven = inf, now >= self._proven_at
            threading.Thread(target=self._keep, kwargs={"proven": is_proven}, name="slots", daemon=True).start()

    def _read(self, path: Path) -> Bundle:
        return bundles.read(path, trusted_keys=self._config.trusted_keys)

    def _why_not(self, wanted: Bundle) -> str:
        """Return why the wanted model is not judged with, to follow its name; empty: it is."""
        made = self._choice()
        if made.refused == wanted.sha256:
            return made.reason
        if made.refused:  # Something else is wanted now: what was refused may be wanted anew one day.
            self._choose(Choice.forgive)
            self._uncount(starts.forget, self._folder, made.refused)
        is_given_up = starts.in_vain(self._folder, wanted.sha256) >= MOST_STARTS
        if is_given_up and not choices.is_proven(self._folder, wanted.sha256):
            return f"did not come up in {MOST_STARTS} starts"
        return ""

    def _stand_in(self, wanted: Bundle | None, why: str, *, lasting: bool = True) -> Classifier | None:
        """Return the model that judges instead, None: there is none that can be used.

        `lasting`: later starts are not to try the wanted one; what gave a reason may be mended until then.
        """
        for place in self._choice().order(choices.held(self._folder)):
            if (bundle := self._fitting(place)) is None or (wanted and bundle.sha256 == wanted.sha256):
                continue
            self._tell(f"{_named(wanted)} {why}" if wanted else why, bundle, RETRY if lasting else "push another")
            if lasting and wanted:
                self._refuse(wanted, why)
            try:
                return self._open(bundle, instead=True)
            except BundleError as error:
                log.warning("slot %s: %s", place, error)
        self._stands_in = f"{_named(wanted)} {why}, and there is no other to go back to; push another" if wanted else ""
        self._report(self.trouble)
        return None

    def _fitting(self, place: Place) -> Bundle | None:
        """Return a slot's bundle if it can be used with this configuration, and its regions."""
        from edge.judge import labels_by_place

        if not os.path.exists(slot(self._folder, place)):  # noqa: PTH110 - Path.exists raises for a disk that fails
            return None
        try:
            bundle = self._read(slot(self._folder, place))
            labels_by_place(self._config.regions, bundle.manifest)
        except (BundleError, ConfigError) as error:
            log.warning("slot %s: %s", place, error)
            return None
        return bundle

    def _tell(self, what: str, bundle: Bundle, remedy: str) -> None:
        self._stands_in = f"{what}; {_named(bundle)} judges instead; {remedy}"
        log.error("%s", self._stands_in)
        self._report(self.trouble)

    def _refuse(self, wanted: Bundle, why: str) -> None:
        if self._choice().refused != wanted.sha256:
            self.decision = self._stands_in
            self._choose(lambda made: made.refuse(wanted.sha256, why))

    def _open(self, bundle: Bundle, *, instead: bool = False) -> Classifier:
        from edge.classifier import Classifier

        self._count(bundle, ": the fault is not the model's" if instead else "")
        self._judging = bundle
        try:
            return Classifier(bundle, self._config.runtime, state_dir=self._folder)
        except BundleError:
            self._uncount(starts.forget, self._folder, bundle.sha256)
            raise

    def _count(self, bundle: Bundle, fault: str) -> None:
        try:
            before = starts.begin(self._folder, bundle.sha256)
        except OSError as error:  # The ledger, which lies beside it, has the status say what the disk lacks.
            log.warning("%s: %s; should this start crash, nobody notices", self._folder, error)
            return
        if before >= MOST_STARTS:
            self._crashes = f"the last {before} starts of {_named(bundle)} ended without a word{fault}; see journalctl"
            log.error("%s", self._crashes)
            self._report(self.trouble)

    def _uncount(self, forget: Callable[..., None], *what: object) -> None:
        try:
            forget(*what)
        except OSError as error:
            log.warning("%s: %s; this start counts as one without a word", self._folder, error)

    def _choice(self) -> Choice:
        try:
            return choices.read(self._folder)
        except DataError as error:
            self._unkept = str(error)
            return choices.or_none(self._folder)

    def _choose(self, how: Callable[[Choice], Choice]) -> None:
        try:
            choices.change(self._folder, how)
            self._unkept = ""
        except OSError as error:
            self._unkept = f"{self._folder}: which model judges cannot be kept ({error})"

    # --- the keeper's thread

    def _keep(self, *, proven: bool) -> None:
        """Have the model kept in a slot; `proven`: and have it proven."""
        from edge.slots.copies import keep

        assert self._judging is not None  # noqa: S101 - for mypy: it has judged
        next_due = inf if proven else self._proven_at
        try:
            if proven:
                starts.forget_all(self._folder)
                self._crashes = ""
            keep(self._folder, self._judging, self._config.trusted_keys, proven=proven)
            self._unkept = ""
        except (OSError, BundleError) as error:
            self._unkept = f"{_named(self._judging)} is not kept, and cannot be gone back to ({error})"
            next_due = min(next_due, time.monotonic() + (RETRY_SECONDS if proven else KEPT_SECONDS))
        self._due = next_due


def _named(bundle: Bundle) -> str:
    return f"the model {bundle.manifest.name!r} {bundle.sha256[:12]}"
