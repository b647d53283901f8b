"""Rounds the ends of intervals outwards: a bound that is stated lower than it was found is none. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_DIGITS = 6
"""Decimals of a share in report.json and in the manifest."""
_FINEST = -4
"""Exponent of the last decimal of a percentage: a millionth of the parts."""
_NEARLY_ALL = 99
"""Per cent, above which the second decimal tells 99.96% from all."""


def up(share: float) -> float:
    """Return an upper bound 0-1 for a file, to six decimals."""
    return _to(share, -_DIGITS, ROUND_CEILING)


def down(share: float) -> float:
    """Return a lower bound 0-1 for a file, to six decimals."""
    return _to(share, -_DIGITS, ROUND_FLOOR)


def _to(share: float, exponent: int, way: str) -> float:
    return float(_exact(share).quantize(Decimal(1).scaleb(exponent), way))


def percent_up(share: float) -> str:
    """Return an upper bound 0-1 in per cent, no lower than it is: to three digits, above 99% to two decimals."""
    return _percent(share, ROUND_CEILING)


def percent_down(share: float) -> str:
    """Return a lower bound 0-1 in per cent, no higher than it is: to three digits, above 99% to two decimals."""
    return _percent(share, ROUND_FLOOR)


def of_thousand_up(share: float) -> str:
    """Return of how many parts in 1,000 an upper bound 0-1 speaks: whole ones, below ten of them to two digits."""
    found = 1000 * _exact(share)
    return _text(found, min(0, found.adjusted() - 1), ROUND_CEILING)


def _percent(share: float, way: str) -> str:
    found = 100 * _exact(share)
    return f"{_text(found, -2 if found > _NEARLY_ALL else found.adjusted() - 2, way)}%"


def _text(found: Decimal, exponent: int, way: str) -> str:
    return f"{found.quantize(Decimal(1).scaleb(max(_FINEST, exponent)), way).normalize():f}"


def _exact(share: float) -> Decimal:
    """Return the shortest number that the float stands for: of 0.005 nothing is left to be rounded up."""
    return Decimal(repr(float(share)))
