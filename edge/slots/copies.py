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
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from edge.contract.bundle import Bundle
    from edge.slots.choice import Choice, Place

log = logging.getLogger(__name__)


def keep(folder: Path, bundle: Bundle, trusted_keys: Iterable[str], *, proven: bool) -> None:
    """Have a slot hold a bundle that judges, and remember that it does; `proven`: it has proven itself by that.

    Of what is held nothing that has proven itself gives way while the other slot holds nothing that has. A copy that is
    there already is read through: one that has rotted is replaced while what it was made from is at hand. Raises
    OSError, and BundleError if the bundle is not what it was any more.
    """
    own = bundle.sha256
    with choices.locked(folder):
        for left in (folder / choices.FOLDER).glob(".[ab].*"):  # By a power cut while one was written.
            shutil.rmtree(left)
        held = choices.held(folder)
        trial = _on_trial(choices.or_none(folder), own, held.values(), proven=proven)
        choices.store(folder, lambda made: made.doubt(trial))  # First: a power cut leaves no copy that seems proven.
        places = [place for place in PLACES if held.get(place) == own and _is_whole(folder, place, trusted_keys)]
        place = places[0] if places else _vacant(folder, own, trusted_keys)
        if not places:
            _copy(folder, place, bundle)
        choices.store(folder, lambda made: made.judged(own, place))


def _on_trial(made: Choice, own: str, held: Collection[str], *, proven: bool) -> set[str]:
    """Return what of that which is held, and will be, has not proven itself."""
    others = (set(made.trial) & set(held)) - {own}
    is_on_trial = not proven and (own in made.trial or own not in held)
    return others | {own} if is_on_trial else others


def _is_whole(folder: Path, place: Place, trusted_keys: Iterable[str]) -> bool:
    try:
        bundles.read(slot(folder, place), trusted_keys=trusted_keys)
    except BundleError:
        return False
    return True


def _vacant(folder: Path, bundle: str, trusted_keys: Iterable[str]) -> Place:
    """Return the slot for this bundle: its own, one of no use, one on trial, or the one that judged longest ago."""
    held = choices.held(folder)
    own = [place for place in PLACES if held.get(place) == bundle]
    useless = [place for place in PLACES if not _is_whole(folder, place, trusted_keys)]
    return [*own, *useless, *reversed(choices.or_none(folder).order(held))][0]


def _copy(folder: Path, place: Place, bundle: Bundle) -> None:
    free, needed = shutil.disk_usage(folder).free, sum(map(len, bundle.files.values()))
    if free < needed + 2 * RESERVE_BYTES:  # The ledger's, which gives way itself below this.
        raise OSError(f"it takes {needed >> 20} MiB and {free >> 20} MiB are free; make room")
    storage.write(slot(folder, place), dict(bundles.content(bundle)))
    log.info("slot %s keeps the model %r %s", place, bundle.manifest.name, bundle.sha256[:12])
