"""Numbered draws: sample *n* of a run is the same whenever it is asked for, so that a resumed run goes on exactly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

Sample_co = TypeVar("Sample_co", covariant=True)


class ShuffledSamples(Dataset[Sample_co], Generic[Sample_co]):
    """Goes through ``count`` entries in a new order each epoch; draws are numbered over the whole run."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._epoch = -1
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw: int) -> Sample_co:
        epoch, position = divmod(draw, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.count)
        return self.sample(int(self._order[position]), np.random.default_rng((self.seed, draw, 1)))

    @abstractmethod
    def sample(self, index: int, rng: np.random.Generator) -> Sample_co:
        """The augmented entry ``index``."""


class Consecutive(Sampler[int]):
    """Draws ``start``, ``start + 1``, … without end."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.start + 10**12))
