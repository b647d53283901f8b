"""Postpones imports that a library makes and this program may never need."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """Stands in for a module until something in it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        self.__dict__.update(module.__dict__)
        return getattr(module, name)


def postpone(name: str) -> None:
    """Have the module `package.name` loaded when it is first used, not when it is first imported.

    importlib.util.LazyLoader does not do: up to Python 3.12 the import statement itself counts as a use.
    """
    if name not in sys.modules:
        package, _, last = name.rpartition(".")
        module = _Postponed(name)
        module.__spec__ = find_spec(name)
        sys.modules[name] = module
        setattr(import_module(package), last, module)
