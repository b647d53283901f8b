"""Says what is wrong with a configuration in its own words: the key, its value, what is expected there."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from edge.contract.names import WHOLE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECRET_KEYS = frozenset({"password"})
"""Their values are never shown."""

LONGEST_SHOWN = 80


def unknown_keys(table: dict[str, Any], section: type[msgspec.Struct]) -> Iterator[str]:
    """Yield a line for each key of the table, and of those in it, that no section knows."""
    yield from _unknown(table, _struct_type(section), "")


def explain(message: str, table: dict[str, Any], section: type[msgspec.Struct]) -> str:
    """Say msgspec's complaint about a table in the words of the section: key, value, what is expected."""
    text, _, where = message.rpartition(" - at `$")
    path = [int(n) if n else key for key, n in re.findall(r"\.?([^.\[\]`]+)|\[(\d+)\]", where)] if text else []
    text = text or message
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text):
        path.append(missing[1])
        return f"{_dotted(path)} is missing: expected {_expected(_at(path, table, section)[0])}"
    kind, value = _at(path, table, section)
    name = _dotted(path)
    if not re.match(r"Expected|Invalid|Integer value", text):
        return f"{name}: {text}" if name else text
    shown = "(hidden)" if path and path[-1] in SECRET_KEYS else _shown(value)
    return f"{name} is {shown}: expected {_expected(kind)}"


def _struct_type(section: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(section)
    assert isinstance(found, inspect.StructType)  # noqa: S101 - by the argument's type
    return found


def _unknown(table: dict[str, Any], kind: inspect.StructType, where: str) -> Iterator[str]:
    known = {field.encode_name: field.type for field in kind.fields}
    for key, value in table.items():
        if key == kind.tag_field:
            continue
        if key not in known:
            yield f"unknown key {where}{_bare(key)}; {_nearest(key, [*known, *filter(None, [kind.tag_field])])}"
        elif isinstance(value, dict) and (inner := _chosen(known[key], value)) is not None:
            yield from _unknown(value, inner, f"{where}{key}.")
        elif isinstance(value, list):
            yield from _unknown_in_list(value, known[key], f"{where}{key}")


def _unknown_in_list(items: list[Any], kind: inspect.Type, where: str) -> Iterator[str]:
    item = next((option.item_type for option in _options(kind) if isinstance(option, inspect.VarTupleType)), None)
    for number, value in enumerate(items):
        if isinstance(value, dict) and _structs(item) and (inner := _chosen(item, value)) is not None:
            yield from _unknown(value, inner, f"{where}[{number}].")


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"


def _at(path: Sequence[str | int], table: Any, section: type[msgspec.Struct]) -> tuple[inspect.Type | None, Any]:
    """Follow a path through the sections and the table; the type is None for the key of a variant's name."""
    kind: inspect.Type | None = _struct_type(section)
    value: Any = table
    for step in path:
        kind = _step(kind, value, step)
        value = value[step] if isinstance(step, int) else value.get(step)
    return kind, value


def _step(kind: inspect.Type | None, value: Any, step: str | int) -> inspect.Type | None:
    if isinstance(step, int):
        array = next(t for t in _options(kind) if isinstance(t, inspect.VarTupleType | inspect.TupleType))
        return array.item_types[step] if isinstance(array, inspect.TupleType) else array.item_type
    structs = _structs(kind)
    if step == structs[0].tag_field:
        return inspect.LiteralType(tuple(str(struct.tag) for struct in structs))
    chosen = _chosen(kind, value) or structs[0]
    return next(field.type for field in chosen.fields if field.encode_name == step)


def _chosen(kind: inspect.Type | None, table: dict[str, Any]) -> inspect.StructType | None:
    """Pick the struct that a table is meant to be, by its tag where there are several."""
    structs = _structs(kind)
    fitting = [s for s in structs if s.tag_field is None or s.tag == table.get(s.tag_field)]
    return fitting[0] if len(fitting) == 1 else None


def _structs(kind: inspect.Type | None) -> list[inspect.StructType]:
    return [option for option in _options(kind) if isinstance(option, inspect.StructType)]


def _options(kind: inspect.Type | None) -> tuple[inspect.Type, ...]:
    """Unwrap descriptions and unions, leaving out None: TOML has none."""
    if isinstance(kind, inspect.Metadata):
        return _options(kind.type)
    if isinstance(kind, inspect.UnionType):
        return tuple(inner for option in kind.types for inner in _options(option))
    return () if kind is None or isinstance(kind, inspect.NoneType) else (kind,)


def _expected(kind: inspect.Type | None) -> str:
    """Put a type and its limits into words; of several, each."""
    return " or ".join(dict.fromkeys(map(_expected_one, _options(kind))))


def _expected_one(kind: inspect.Type) -> str:
    words = "a table"
    match kind:
        case inspect.BoolType():
            words = "true or false"
        case inspect.CustomType():
            words = "a path"
        case inspect.IntType() as number:
            words = f"a whole number{_limits(number)}"
        case inspect.FloatType() as number:
            words = f"a number{_limits(number)}"
        case inspect.LiteralType(values=values):
            words = "one of " + ", ".join(map(repr, values))
        case inspect.EnumType(cls=values):
            words = "one of " + ", ".join(repr(each.value) for each in values)
        case inspect.VarTupleType() | inspect.TupleType() | inspect.DictType() as container:
            words = _expected_in(container)
        case inspect.StrType() as text:
            words = _expected_text(text)
    return words


def _expected_text(kind: inspect.StrType) -> str:
    if kind.pattern is not None:
        return "letters, digits, _ and -, 64 at most" if kind.pattern == WHOLE_NAME else "a pin's name, such as GPIO17"
    words = "a text that is not empty" if kind.min_length else "a text"
    return words if kind.max_length is None else f"{words}, of {kind.max_length} characters at most"


def _expected_in(container: inspect.VarTupleType | inspect.TupleType | inspect.DictType) -> str:
    match container:
        case inspect.DictType(value_type=value):
            return f"a table, each value {_expected(value)}"
        case inspect.TupleType(item_types=items):
            return f"an array of {len(items)}, each item {_expected(items[0])}"
    least = "an array that is not empty" if container.min_length else "an array"
    return f"{least}, each item {_expected(container.item_type)}"


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    limits = {"above": kind.gt, "at least": kind.ge, "below": kind.lt, "at most": kind.le}
    limits["a multiple of"] = kind.multiple_of
    words = " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)
    return f" {words}" if words else ""


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,60}", key) else _shown(key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
