"""When a run ends, how its learning rate falls, and the running average of its weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

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


def cosine_rate(spent: float, peak: float, warmup: float = 0.02, floor: float = 0.01) -> float:
    """Learning rate: linear warm-up over the first ``warmup`` of the budget, then a cosine down to ``floor · peak``."""
    if spent < warmup:
        return peak * max(spent / warmup, 0.01)
    progress = (spent - warmup) / (1 - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


class AveragedWeights:
    """Exponential moving average of a network's parameters and BatchNorm statistics."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def restart(self, network: nn.Module) -> None:
        """Forget the past: a network that changes fast, as after a change of input size, is not what it was."""
        self.network.load_state_dict(network.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))  # a young average forgets faster
        mine, theirs = list(self.network.state_dict().values()), list(network.state_dict().values())
        averaged = [(a, b) for a, b in zip(mine, theirs) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in averaged], [b for _, b in averaged], 1 - decay)
