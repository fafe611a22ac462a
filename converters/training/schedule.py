"""When a run ends, how its learning rate falls, and the running average of its weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn


@dataclass(frozen=True)
class Budget:
    """A run ends at the first of its limits; ``inf`` means no limit of that kind."""

    samples: float = math.inf
    minutes: float = math.inf

    def spent(self, samples: int, minutes: float) -> float:
        """Share of the budget used up, 0 to 1: the clock of every schedule."""
        return min(1.0, max(samples / self.samples, minutes / self.minutes))


class Schedule(Protocol):
    """How the learning rate moves over a run.

    Attributes:
        restarts: shares of the budget at which the run goes back to its best weights.
    """

    @property
    def restarts(self) -> tuple[float, ...]: ...

    def __call__(self, spent: float) -> float:
        """Share of the peak rate at a share of the budget."""


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up over the first ``warmup`` of the budget, then a cosine down to ``floor`` of the peak.

    Attributes:
        warmup: share of the budget.
        floor: share of the peak at the end.
        rise: share of the budget at which the rate rises once more, and the share of the peak it rises to. A network
            that has settled at one input size needs that to settle at the next.
        restarts: see :class:`Schedule`.
    """

    warmup: float = 0.02
    floor: float = 0.01
    rise: tuple[float, float] | None = None
    restarts: tuple[float, ...] = ()

    def __call__(self, spent: float) -> float:
        if spent < self.warmup:
            return max(spent / self.warmup, 0.01)
        start, height = self.rise if self.rise and spent >= self.rise[0] else (self.warmup, 1.0)
        progress = (spent - start) / (1 - start)
        return self.floor + (height - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Iterative:
    """LPN's iterative training (§3.3, Fig. 3; §4.1): a step schedule that is replayed from a middle epoch.

    The first stage is the usual one, the rate divided by ten at each of the ``drops``; every later stage starts from
    the best weights so far, at the full rate, as if it were epoch ``restart``. With one stage it is the step schedule.
    """

    stages: int = 7
    epochs: int = 150
    restart: int = 60
    drops: tuple[int, ...] = (90, 120)

    @property
    def restarts(self) -> tuple[float, ...]:
        return tuple((self.epochs + n * self._replayed) / self._total for n in range(self.stages - 1))

    def __call__(self, spent: float) -> float:
        epoch = spent * self._total
        if epoch >= self.epochs and spent < 1:
            epoch = self.restart + (epoch - self.epochs) % self._replayed
        return float(0.1 ** sum(epoch >= drop for drop in self.drops))

    @property
    def _replayed(self) -> int:
        return self.epochs - self.restart

    @property
    def _total(self) -> int:
        return self.epochs + (self.stages - 1) * self._replayed


class AveragedWeights:
    """Exponential moving average of a network's parameters and BatchNorm statistics.

    Args:
        network: must keep its tensors, as training and ``load_state_dict`` do.
        decay: share of the average that an update leaves.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._followed = network
        pairs = zip(self.network.state_dict().values(), network.state_dict().values())
        self._pairs = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]

    def restart(self) -> None:
        """Forget the past: a network that changes fast, as after a change of input size, is not what it was."""
        self.network.load_state_dict(self._followed.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the network as it is now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))  # a young average forgets faster
        mine, theirs = zip(*self._pairs)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
