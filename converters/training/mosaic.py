"""Several training pictures side by side in one: people as small as users photograph them, and more of them a step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

Tile = tuple[int, int, int, int]
"""Left, top, right and bottom edge, pixels."""
MOVED = 0.2
"""How far an inner border may lie from its even place, as a share of a tile."""


def draw_grid(shares: Mapping[int, float], rng: np.random.Generator) -> int:
    """Pictures along a side, by how often each number of them shall be drawn."""
    return int(rng.choice(list(shares), p=list(shares.values())))


def tiles(size: tuple[int, int], grid: int, first: int, count: int, rng: np.random.Generator) -> list[tuple[Tile, int]]:
    """``grid`` × ``grid`` tiles of a (width, height) picture, row by row, their borders moved a little, and which of
    ``count`` pictures each shows: ``first`` the first one, the others any."""
    across, down = (_borders(side, grid, rng) for side in size)
    places = [(left, top, right, bottom) for top, bottom in pairwise(down) for left, right in pairwise(across)]
    return list(zip(places, [first, *map(int, rng.integers(0, count, len(places) - 1))]))


def _borders(side: int, grid: int, rng: np.random.Generator) -> list[int]:
    moved = np.arange(1, grid) + rng.uniform(-MOVED, MOVED, grid - 1)
    return [0, *(int(side * border / grid) for border in moved), side]
