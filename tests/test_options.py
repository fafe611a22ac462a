"""Numbers and names that callers give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.options import number, one_of, whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_are_pythons_and_numpys(value: Any) -> None:
    assert whole_number("count", value) == 3 and type(whole_number("count", value)) is int


@pytest.mark.parametrize("value", [0, 5, 2.0, np.float32(2), "2", True, None, [2], math.nan])
def test_other_values_are_no_whole_numbers(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="count must be 'auto' or a whole number from 1 to 4, got"):
        whole_number("count", value, most=4, instead="'auto'")


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.5), np.int64(1)])
def test_numbers_are_any_in_the_range(value: Any) -> None:
    assert number("share", value, most=1) == value and type(number("share", value, most=1)) is float


@pytest.mark.parametrize("value", [-0.1, 1.5, 10**400, math.nan, math.inf, -math.inf, "0.5", True, None, 1j, [0.5]])
def test_other_values_are_no_numbers(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="share must be a finite number from 0 to 1, got"):
        number("share", value, most=1)


@pytest.mark.parametrize("value", [0, 1])
def test_the_ends_can_be_left_out(value: float) -> None:
    with pytest.raises(InvalidInputError, match="above 0 and under 1"):
        number("share", value, most=1, inside=True)


@pytest.mark.parametrize("value", ["c", 1, True, ["a"], np.array(["a", "b"]), {}])
def test_one_of_some_names(value: Any) -> None:
    one_of("letter", "a", ("a", "b", None))
    one_of("letter", None, ("a", "b", None))
    with pytest.raises(InvalidInputError, match="letter must be one of 'a', 'b', None, got"):
        one_of("letter", value, ("a", "b", None))
