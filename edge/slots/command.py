"""`edge-inspect model`: which model the daemon's next start judges with, and why; go back, or try the new one again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge import config as configs
from edge.command import add_config, printable
from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, DataError, RuntimeUnavailableError
from edge.slots import choice as choices
from edge.slots import starts
from edge.slots.choice import BY_HAND, PLACES, Choice, slot
from edge.slots.slots import KEPT_SECONDS, MOST_STARTS
from edge.state import daemons_state, find_state, hand_over

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from edge.config import Config
    from edge.contract.bundle import Bundle
    from edge.slots.choice import Place

_ACTIONS = ("list", "back", "retry")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    actions = "list: show both slots (default); back: go back to the other model; retry: try the refused one again"
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help=actions)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do one of them and return 0; raises ConfigError, one line, where there is nothing to list, go back to or retry.

    The daemon may run meanwhile: its next start finds what was chosen.
    """
    config = configs.load(arguments.config)
    if arguments.action == "list":
        from edge.ledger.ledger import FILE as LEDGER  # Which each daemon has.

        folder = find_state(config, LEDGER).parent
        print("\n".join(map(printable, _Look(config, folder).table())))
        return 0
    folder = daemons_state(config)
    look = _Look(config, folder)
    chosen = _choose(folder, look.back if arguments.action == "back" else look.retry)
    starts.forget_all(folder)
    place = look.next(chosen)
    said = f"slot {place}: {_named(look.held[place])}" if place else f"the wanted {_named(look.wanted)}"
    print(printable(f"the next start judges with {said}; restart the daemon to have it now"))
    return 0


def _choose(folder: Path, how: Callable[[Choice], Choice]) -> Choice:
    try:
        return choices.change(folder, how)
    except BlockingIOError:
        raise ConfigError(f"{folder}: the daemon is just keeping a model there; try again in a moment") from None
    finally:
        for path in (folder / choices.FILE, folder / choices.FOLDER):
            if path.exists():
                hand_over(path)


class _Look:
    """What lies there: the wanted bundle and both slots, each a bundle, or why it cannot be used."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._folder = folder
        self._trouble, self._choice = "", choices.or_none(folder)
        try:
            choices.read(folder)
        except DataError as error:
            self._trouble = str(error)
        self.wanted = _tried(config, config.bundle, folder)
        self.held = {place: _held(config, slot(folder, place), folder) for place in PLACES}

    def next(self, chosen: Choice) -> Place | None:
        """Return the slot that the next start judges with; None: the wanted bundle, from where it lies."""
        wanted = self.wanted
        is_judged = not isinstance(wanted, str) and wanted.sha256 != chosen.refused and not self._is_given_up(wanted)
        return None if is_judged else self._other(chosen)

    def back(self, made: Choice) -> Choice:
        """Return the choice of the model that does not judge by this one; raises ConfigError if there is none."""
        if isinstance(self.wanted, str):
            raise ConfigError(f"nothing to choose from: the wanted bundle is of no use ({self.wanted}); push another")
        if self.wanted.sha256 == made.refused:
            return made.forgive()
        if self._other(made) is None:
            raise ConfigError(f"there is no other model to go back to: one is kept after {KEPT_SECONDS:g} s of judging")
        return made.refuse(self.wanted.sha256, BY_HAND)

    def retry(self, made: Choice) -> Choice:
        """Return the choice of what is wanted; raises ConfigError if that is not refused."""
        if isinstance(self.wanted, str) or not (made.refused or self._is_given_up(self.wanted)):
            raise ConfigError("nothing to retry: no model is refused; edge-inspect model list shows all")
        return made.forgive()

    def table(self) -> list[str]:
        """Return the lines that tell a person."""
        judges = self.next(self._choice)
        rows = [("wanted", self.wanted, self._fate())]
        rows += [(f"slot {place}", held, self._standing(held)) for place, held in self.held.items()]
        marks = [judges is None, *(judges == place for place in PLACES)]
        return [
            f"{'*' if mark else ' '} {where:<7} {_named(held)}" + ("" if isinstance(held, str) else f"  {fate}")
            for mark, (where, held, fate) in zip(marks, rows, strict=True)
        ] + ["* the next start judges with this one", *filter(None, [self._trouble])]

    def _fate(self) -> str:
        """Say how the wanted bundle fares."""
        if isinstance(self.wanted, str):
            return ""
        if self.wanted.sha256 == self._choice.refused:
            return f"refused: it {self._choice.reason}"
        begun = starts.in_vain(self._folder, self.wanted.sha256)
        if begun <= 1 or self._is_proven(self.wanted):
            return self._standing(self.wanted)
        return f"on trial, begun {begun} times; after {MOST_STARTS} that end without a word it is refused"

    def _standing(self, held: Bundle | str) -> str:
        return "proven" if self._is_proven(held) else "on trial"

    def _is_given_up(self, bundle: Bundle) -> bool:
        """Say whether the next start finds that it did not come up."""
        return starts.in_vain(self._folder, bundle.sha256) >= MOST_STARTS and not self._is_proven(bundle)

    def _is_proven(self, held: Bundle | str) -> bool:
        return not isinstance(held, str) and choices.is_proven(self._folder, held.sha256)

    def _other(self, chosen: Choice) -> Place | None:
        """Return the slot that stands in for the wanted bundle."""
        for place in chosen.order(choices.held(self._folder)):
            held = self.held[place]
            if not isinstance(held, str) and (isinstance(self.wanted, str) or held.sha256 != self.wanted.sha256):
                return place
        return None


def _held(config: Config, path: Path, folder: Path) -> Bundle | str:
    """Return a slot's bundle if a start could judge with it."""
    from edge.judge import labels_by_place

    bundle = _tried(config, path, folder) if path.exists() else "empty"
    if isinstance(bundle, str):
        return bundle
    try:
        labels_by_place(config.regions, bundle.manifest)
    except ConfigError as error:
        return f"{_named(bundle)} cannot be used: {error}"
    return bundle


def _tried(config: Config, path: Path, folder: Path) -> Bundle | str:
    """Return a bundle if its model can be loaded, as a start would find; the accelerator is left to the daemon."""
    from edge.classifier import Classifier

    try:
        bundle = bundles.read(path, trusted_keys=config.trusted_keys)
    except BundleError as error:
        return f"cannot be used: {error}"
    try:
        Classifier(bundle, replace(config.runtime, accelerator="none"), state_dir=folder)
    except (BundleError, RuntimeUnavailableError) as error:
        return f"{_named(bundle)} cannot be used: {error}"
    return bundle


def _named(held: Bundle | str) -> str:
    return held if isinstance(held, str) else f"{held.manifest.name!r} {held.sha256[:12]}"
