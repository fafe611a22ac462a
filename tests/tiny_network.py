"""A network that trains in a moment, and a recipe of two sizes for it."""

from __future__ import annotations

from torch import Tensor, nn

from converters.training.loop import Recipe, Stage


class TinyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 17, 5, 2, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


TINY = Recipe(stages=(Stage((48, 64), 0.5), Stage((96, 128), 1.0, frozen=("layers.0",))), batch=4)
