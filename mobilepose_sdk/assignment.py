"""The cheapest one-to-one pairing of rows and columns.

SciPy's ``linear_sum_assignment`` answers the same question, and the tests hold the two against each other. It is not
used here because SciPy is no dependency of the SDK: a stream must neither fail where SciPy is missing nor pause while
it is imported, and a frame has a handful of people, for whom plain Python is quick enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError


def assign(cost: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair rows with columns so that the sum of costs is least (the Hungarian method by shortest augmenting paths).

    Args:
        cost: (M, N) finite numbers.

    Returns:
        rows and columns, (min(M, N),) each, the rows rising: row ``rows[i]`` goes with column ``columns[i]``.

    Raises:
        InvalidInputError: the costs are no matrix or not finite.
    """
    cost = np.asarray(cost, dtype=np.float64)
    if cost.ndim != 2 or not np.isfinite(cost).all():
        raise InvalidInputError(f"costs must be a matrix of finite numbers, got shape {cost.shape}")
    m, n = cost.shape
    if m > n:
        columns, rows = assign(cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    owner = _owners(cost.tolist(), n)
    columns = np.array(sorted((row, column) for column, row in enumerate(owner) if row >= 0), dtype=np.intp)
    return np.arange(m), columns.reshape(-1, 2)[:, 1]


def _owners(cost: list[list[float]], n: int) -> list[int]:
    """The row that owns each of the ``n`` columns, -1 for none; no more rows than columns."""
    owner = [-1] * n
    row_price, column_price = [0.0] * len(cost), [0.0] * n
    for start in range(len(cost)):
        # Dijkstra from a free row to the nearest free column, over costs that the prices keep from being negative.
        distance, came_from, done = [math.inf] * n, [-1] * n, [False] * n
        row, column, reach = start, -1, 0.0
        while True:
            for other in range(n):
                if not done[other]:
                    length = reach + cost[row][other] - row_price[row] - column_price[other]
                    if length < distance[other]:
                        distance[other], came_from[other] = length, column
            column = min((c for c in range(n) if not done[c]), key=distance.__getitem__)
            reach, done[column], row = distance[column], True, owner[column]
            if row < 0:
                break
        row_price[start] += reach
        for other in range(n):
            if done[other] and other != column:
                row_price[owner[other]] += reach - distance[other]
                column_price[other] -= reach - distance[other]
        while column >= 0:  # back along the path, every column moves to the row before it
            previous = came_from[column]
            owner[column] = start if previous < 0 else owner[previous]
            column = previous
    return owner
