"""Options that callers give: what is not accepted gets an error that says what is."""

from __future__ import annotations

import math
from contextlib import suppress
from numbers import Integral, Real

from mobilepose_sdk.errors import InvalidInputError


def one_of(name: str, value: object, accepted: tuple[object, ...]) -> None:
    """Nothing, where ``value`` is accepted.

    Raises:
        InvalidInputError: it is not.
    """
    if not isinstance(value, (str, type(None))) or value not in accepted:
        raise InvalidInputError(f"{name} must be one of {', '.join(map(repr, accepted))}, got {value!r}")


def whole_number(name: str, value: object, least: int = 1, most: int | None = None, instead: str = "") -> int:
    """``value`` as an int; NumPy's integers are as good, True and False are not.

    Args:
        name: how the error calls it.
        value: what was given.
        least, most: the range.
        instead: what else is accepted, for the error.

    Raises:
        InvalidInputError: it is no whole number, or out of range.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        whole = int(value)
        if whole >= least and (most is None or whole <= most):
            return whole
    accepted = f"of at least {least}" if most is None else f"from {least} to {most}"
    other = f"{instead} or " if instead else ""
    raise InvalidInputError(f"{name} must be {other}a whole number {accepted}, got {value!r}")


def number(name: str, value: object, *, most: float = math.inf, inside: bool = False) -> float:
    """``value`` as a float, finite, from 0 to ``most``; ``inside``: and neither of these.

    Raises:
        InvalidInputError: it is no number, or out of range.
    """
    with suppress(OverflowError):  # a whole number that no float can hold
        real = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        if math.isfinite(real) and 0 <= real <= most and not (inside and real in (0, most)):
            return real
    first, last = ("above", "and under") if inside else ("from", "to")
    accepted = f"{first} 0" + (f" {last} {most:g}" if math.isfinite(most) else "")
    raise InvalidInputError(f"{name} must be a finite number {accepted}, got {value!r}")
