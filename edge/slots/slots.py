"""Which model a start judges with, and when a model has proven itself: a crash loop brings the former one back.

`config.bundle` is what is wanted, and is judged with from where it lies: a start copies nothing, and a state folder
that is full, read-only or damaged keeps no device from judging. Only when a model has judged for PROVEN_SECONDS is it
copied into a slot, the one whose model did not judge before it, by a thread of its own. So a slot is always a model to
go back to, and there is nothing to undo when a model fails on trial.

- A wanted model that has never proven itself, and MOST_STARTS starts of which ended without a word, is refused: the
  other one judges until something else is wanted or somebody says `edge-inspect model retry`.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.classifier import Classifier
    from edge.config import Config
    from edge.contract.bundle import Bundle
    from edge.contract.messages import Event
    from edge.slots.choice import Place

log = logging.getLogger(__name__)

PROVEN_SECONDS = 60.0
"""Of judging; a leak or a driver that takes longer to fail is not told from a fault of the device."""
MOST_STARTS = 3
RETRY_SECONDS = 600.0
"""Until a copy that could not be kept is tried once more."""
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
        self._has_judged = False
        self._due = inf
        """On the monotonic clock: when it has proven itself, or is to be copied once more."""

    @property
    def trouble(self) -> str:
        """What is wrong; empty: nothing."""
        return "; ".join(filter(None, (self._stands_in, self._crashes, self._unkept)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Count this start no more, unless it ended for what may be the model's fault."""
        is_a_word = isinstance(error, InspectError) and not isinstance(error, _THE_MODELS)
        if is_a_word or not isinstance(error, Exception):
            self._uncount(starts.forget_all, self._folder)

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
        """Hear of verdicts: those that a prediction led to are proof."""
        if not self._has_judged and any(event.label is not None for event in events):
            self._has_judged = True
            self._due = time.monotonic() + PROVEN_SECONDS

    def tend(self) -> None:
        """Report what is wrong, and have a thread keep the model once it has proven itself."""
        self._report(self.trouble)
        if time.monotonic() >= self._due:
            self._due = inf
            threading.Thread(target=self._keep, name="slots", daemon=True).start()

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
        if starts.in_vain(self._folder, wanted.sha256) < MOST_STARTS or self._is_proven(wanted):
            return ""
        return f"did not come up in {MOST_STARTS} starts"

    def _is_proven(self, bundle: Bundle) -> bool:
        from edge.slots.copies import is_held

        return is_held(self._folder, bundle.sha256)

    def _stand_in(self, wanted: Bundle | None, why: str, *, lasting: bool = True) -> Classifier | None:
        """Return the model that judges instead, None: there is none that can be used.

        `lasting`: later starts are not to try the wanted one; what gave a reason may be mended until then.
        """
        for place in self._choice().order:
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
            return Choice()

    def _choose(self, how: Callable[[Choice], Choice]) -> None:
        try:
            choices.change(self._folder, how)
            self._unkept = ""
        except OSError as error:
            self._unkept = f"{self._folder}: which model judges cannot be kept ({error})"

    # --- the keeper's thread

    def _keep(self) -> None:
        """Have the model proven, and kept in a slot."""
        from edge.slots.copies import keep

        assert self._judging is not None  # noqa: S101 - for mypy: it has judged
        try:
            starts.forget_all(self._folder)
            self._crashes = ""
            keep(self._folder, self._judging, self._config.trusted_keys)
        except (OSError, BundleError) as error:
            self._unkept = f"{_named(self._judging)} is not kept, and cannot be gone back to ({error})"
            self._due = time.monotonic() + RETRY_SECONDS
        else:
            self._unkept = ""


def _named(bundle: Bundle) -> str:
    return f"the model {bundle.manifest.name!r} {bundle.sha256[:12]}"
