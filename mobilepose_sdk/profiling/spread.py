"""Statistics of repeated measurements, and whether to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 1.5
"""A 90th percentile this much above the median is no calm machine."""
DRIFT = 1.15
"""A last third this much slower than the first is a machine that slows down."""


@dataclass(frozen=True)
class Spread:
    """Milliseconds of one thing measured many times: median, 90th and 99th percentile."""

    median: float
    p90: float
    p99: float

    @property
    def fps(self) -> float:
        """Times a second, at the median."""
        return 1e3 / self.median if self.median > 0 else float("inf")

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Spread:
        return cls(*(float(value) for value in np.percentile(milliseconds, (50, 90, 99))))


def warnings_for(milliseconds: Sequence[float]) -> list[str]:
    """What is suspicious about measurements, in the order they were taken; nothing for fewer than nine."""
    if len(milliseconds) < 9:
        return []
    found, spread = [], Spread.of(milliseconds)
    if spread.p90 > WIDE * spread.median:
        found.append(
            f"noisy: the slowest tenth took over {spread.p90 / spread.median:.1f} times the median; another program, "
            "or a neighbour on a shared machine, uses the processor"
        )
    third = len(milliseconds) // 3
    first, last = float(np.median(milliseconds[:third])), float(np.median(milliseconds[-third:]))
    if last > DRIFT * first:
        found.append(
            f"slowing down: the last third took {last / first:.2f} times as long as the first; the processor is hot "
            "and lowers its clock, or another program began"
        )
    return found
