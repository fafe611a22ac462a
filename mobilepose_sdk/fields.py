"""Fields of JSON files: what is accepted, and an error that says so where something else was given."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mobilepose_sdk.errors import InvalidInputError


@dataclass(frozen=True)
class Accepted:
    """What a field may hold.

    Attributes:
        words: for the error.
        fits: whether a parsed value is such a one.
    """

    words: str
    fits: Callable[[Any], bool]


Fields = Mapping[str, Accepted]


def check_fields(place: str, entry: Any, required: Fields, optional: Fields | None = None) -> None:
    """Nothing, where an object of a file holds what is accepted; other fields than these may hold anything.

    Args:
        place: how the error calls the object.
        entry: as it was parsed.
        required, optional: its fields.

    Raises:
        InvalidInputError: it is no object, lacks a field, or a field holds something else.
    """
    if not isinstance(entry, dict):
        raise InvalidInputError(f"{place} is {shown(entry)}; accepted: an object")
    missing = [name for name in required if name not in entry]
    if missing:
        raise InvalidInputError(f"{place} lacks {', '.join(missing)}")
    for name, accepted in {**required, **(optional or {})}.items():
        if name in entry and not accepted.fits(entry[name]):
            raise InvalidInputError(f"{place} has the {name} {shown(entry[name])}; accepted: {accepted.words}")


def shown(value: Any) -> str:
    """A parsed value for an error; a long one is shortened, and a long list counted."""
    text = reprlib.repr(value)
    return f"{text} ({len(value)} values)" if isinstance(value, list) and len(value) > reprlib.aRepr.maxlist else text


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold; True and False are none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def whole(least: int) -> Accepted:
    """A whole number."""
    return Accepted(f"a whole number of at least {least}", lambda value: type(value) is int and value >= least)


def one_of(*names: str) -> Accepted:
    """One of some texts."""
    return Accepted(" or ".join(map(repr, names)), lambda value: isinstance(value, str) and value in names)


def numbers(count: int, meaning: str) -> Accepted:
    """A list of finite numbers; ``meaning`` says of what."""
    return Accepted(
        f"{count} finite numbers, {meaning}",
        lambda value: isinstance(value, list) and len(value) == count and all(map(is_number, value)),
    )


def list_of(words: str, fits: Callable[[Any], bool]) -> Accepted:
    """A list, empty or not, all of whose values fit."""
    return Accepted(f"a list of {words}", lambda value: isinstance(value, list) and all(map(fits, value)))


def object_of(words: str, fits: Callable[[Any], bool]) -> Accepted:
    """An object, empty or not, all of whose values fit."""
    return Accepted(f"an object of {words}", lambda value: isinstance(value, dict) and all(map(fits, value.values())))


TEXT = Accepted("a text", lambda value: isinstance(value, str))
NUMBER = Accepted("a finite number", is_number)
OBJECT = Accepted("an object", lambda value: isinstance(value, dict))
OBJECTS = list_of("objects", OBJECT.fits)
