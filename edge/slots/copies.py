"""The two slots: folders with a copy of a bundle each, whole and synced before they take their names."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from edge.contract import bundle as bundles
from edge.contract import storage
from edge.errors import BundleError
from edge.ledger.room import RESERVE_BYTES
from edge.slots import choice as choices
from edge.slots.choice import PLACES, slot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge.contract.bundle import Bundle
    from edge.slots.choice import Choice, Place

log = logging.getLogger(__name__)


def is_held(folder: Path, bundle: str) -> bool:
    """Say whether a slot has this bundle, by its manifest's SHA-256: only what has proven itself has one."""
    return any(_holds(folder, place) == bundle for place in PLACES)


def keep(folder: Path, bundle: Bundle, trusted_keys: Iterable[str]) -> None:
    """Have a slot hold a bundle that has proven itself, and remember that it judges.

    The slot whose model judged until now is left alone. A copy that is there already is read through: one that has
    rotted is replaced while what it was made from is at hand. Raises OSError, and BundleError if the bundle is not what
    it was any more.
    """
    with choices.locked(folder):
        for left in (folder / choices.FOLDER).glob(".[ab].*"):  # By a power cut while one was written.
            shutil.rmtree(left)
        place = _whole(folder, bundle.sha256, trusted_keys)
        if place is None:
            place = _vacant(folder, bundle.sha256, choices.or_none(folder))
            _copy(folder, place, bundle)
        choices.store(folder, lambda made: made if made.refused == bundle.sha256 else made.judged(place))


def _whole(folder: Path, bundle: str, trusted_keys: Iterable[str]) -> Place | None:
    for place in PLACES:
        if _holds(folder, place) == bundle:
            try:
                bundles.read(slot(folder, place), trusted_keys=trusted_keys)
            except BundleError:
                continue
            return place
    return None


def _vacant(folder: Path, bundle: str, made: Choice) -> Place:
    """Return the slot for this bundle: its own, one with nothing that can be used, or what judged longest ago."""
    held = {place: _holds(folder, place) for place in PLACES}
    own = [place for place in PLACES if held[place] == bundle]
    empty = [place for place in PLACES if held[place] is None]
    return [*own, *empty, *reversed(made.order)][0]


def _holds(folder: Path, place: Place) -> str | None:
    try:
        return bundles.identify(slot(folder, place))
    except BundleError:
        return None


def _copy(folder: Path, place: Place, bundle: Bundle) -> None:
    free, needed = shutil.disk_usage(folder).free, sum(map(len, bundle.files.values()))
    if free < needed + 2 * RESERVE_BYTES:  # The ledger's, which gives way itself below this.
        raise OSError(f"it takes {needed >> 20} MiB and {free >> 20} MiB are free; make room")
    storage.write(slot(folder, place), dict(bundles.content(bundle)))
    log.info("the model %r %s has proven itself: slot %s keeps it", bundle.manifest.name, bundle.sha256[:12], place)
