"""Which model judges: slots.json, one small file that is replaced as a whole, so that a switch is one rename.

What a slot holds its own manifest says; it is not written down twice. Which of that is still on trial is.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

import msgspec

from edge.contract import bundle as bundles
from edge.contract import storage
from edge.contract.json import NOT_JSON
from edge.errors import BundleError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

FILE = "slots.json"
FOLDER = "slots"
Place: TypeAlias = Literal["a", "b"]
PLACES: tuple[Place, ...] = get_args(Place)
RETRY = "push another or run edge-inspect model retry"
BY_HAND = "was left by edge-inspect model back"
_FORGOTTEN = "which model was refused is forgotten, and each has to prove itself again"
_LARGEST = 16 << 10
"""Bytes of the file."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written down. The model that the configuration wants judges unless it is the one that is refused."""

    version: Literal[1] = 1
    active: Place | None = None
    """The slot of the model that judged last, of those that are held; None: none has judged yet."""
    refused: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """A bundle that is not judged with though it is wanted: the SHA-256 of its manifest.json."""
    reason: str = ""
    """Why, to follow its name."""
    trial: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")], ...] = ()
    """Bundles that have not proven themselves, though a slot may hold them; named as `refused` is."""

    def __post_init__(self) -> None:
        """Refuse a reason for nothing and a refusal without one; raises ValueError."""
        if bool(self.refused) != bool(self.reason):
            raise ValueError("`refused` and `reason` belong together")

    def order(self, held: Mapping[Place, str]) -> list[Place]:
        """Return in which order the slots stand in for a model that cannot be used, `held`: what they hold.

        First what has proven itself, then what judged last. In the reverse order they give way to another model.
        """
        lately: list[Place] = ["b", "a"] if self.active == "b" else ["a", "b"]
        return sorted(lately, key=lambda place: held.get(place) in self.trial)

    def refuse(self, bundle: str, reason: str) -> Choice:
        """Return the choice of any other model than this bundle's."""
        return msgspec.structs.replace(self, refused=bundle, reason=reason)

    def judged(self, bundle: str, place: Place) -> Choice:
        """Return the choice of a bundle that judges, and lies in this slot; what somebody left meanwhile stays left."""
        return self if self.refused == bundle else msgspec.structs.replace(self, active=place)

    def doubt(self, unproven: Iterable[str]) -> Choice:
        """Return the choice with these bundles, and no others, on trial."""
        return msgspec.structs.replace(self, trial=tuple(sorted(unproven)))

    def forgive(self) -> Choice:
        """Return the choice without a refusal: what is wanted is tried again."""
        return msgspec.structs.replace(self, refused="", reason="")


def slot(folder: Path, place: Place) -> Path:
    """Return where a slot's bundle lies."""
    return folder / FOLDER / place


def read(folder: Path) -> Choice:
    """Return what was chosen in this state folder; raises DataError, one line, for what cannot be used."""
    path = folder / FILE
    try:
        return msgspec.json.decode(storage.read_plain(path, _LARGEST), type=Choice)
    except FileNotFoundError:
        return Choice()
    except (OSError, *NOT_JSON) as error:
        raise DataError(f"{path} cannot be used ({error}); {_FORGOTTEN}") from error


def or_none(folder: Path) -> Choice:
    """Return what was chosen; where that cannot be used nothing, and what the slots hold has to prove itself again."""
    try:
        return read(folder)
    except DataError:
        return Choice().doubt(held(folder).values())


def held(folder: Path) -> dict[Place, str]:
    """Return the bundle in each slot that has one, by its manifest's SHA-256; its other files are not looked at."""
    found = {}
    for place in PLACES:
        with suppress(BundleError):
            found[place] = bundles.identify(slot(folder, place))
    return found


def is_proven(folder: Path, bundle: str) -> bool:
    """Say whether this bundle has proven itself on this device, and is held."""
    return bundle in held(folder).values() and bundle not in or_none(folder).trial


def change(folder: Path, how: Callable[[Choice], Choice]) -> Choice:
    """Choose anew, as `how` says of what is chosen now, and return it; what cannot be read counts as nothing.

    Raises OSError, also if another process is just choosing.
    """
    with locked(folder):
        return store(folder, how)


def store(folder: Path, how: Callable[[Choice], Choice]) -> Choice:
    """Do the same for whoever has the lock."""
    path, chosen = folder / FILE, how(or_none(folder))
    data = msgspec.json.encode(chosen)
    with suppress(OSError):
        if storage.read_plain(path, _LARGEST) == data:
            return chosen
    storage.replace_file(path, data)
    return chosen


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from choosing; raises OSError if one is at it: nobody takes long, and none waits."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
