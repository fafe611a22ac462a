"""The task of a top-down pose network: heatmaps of one person's keypoints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from converters.training.augmentation import HEAD, HIPS, KNEES, Augmentation
from converters.training.loop import Recipe, Stage
from converters.training.losses import HeatmapLoss, gaussian_targets
from converters.training.people import Person, PoseSamples, read_labels
from converters.training.precision import mixed_precision
from converters.training.schedule import Cosine
from converters.training.validation import PoseValidation


def recipe(input_size: tuple[int, int], stem: tuple[str, ...] = ()) -> Recipe:
    """A quarter of the input's pixels at first, then half of them, then all, with the stem as it is by then.

    At the change to all of them the rate rises again: LPN-50, changed at a seventh of its peak rate, lost two points of
    PCK and found them only at twice that rate.
    """
    width, height = input_size
    small, half = (width // 2, height // 2), (width * 2 // 3, height * 3 // 4)
    change = 0.75
    stages = (Stage(small, 0.35), Stage(half, change), Stage(input_size, 1.0, stem))
    return Recipe(stages=stages, schedule=Cosine(rise=(change, 0.35)))


FEW_EPOCHS = Augmentation(
    rotation_share=0.3,
    turn_share=0.15,
    scale=0.25,
    aspect=1.2,
    shift=0.04,
    half_body_share=0.25,
    colour=0.2,
    tint_share=0.06,
    blur_share=0.05,
)
"""For runs of some ten epochs, limited by what they see and not by overfitting; LPN's 150 use the full strength."""

MANY_EPOCHS = Augmentation(turn_share=0.15)
"""The full strength: for a network that knows the training people better than others."""
LEARNT_BY_HEART = 1_000_000
"""Samples, some twenty epochs, after which a network does."""
CALM = replace(
    FEW_EPOCHS,
    turn_share=0.05,
    scale=0.2,
    aspect=1.15,
    half_body_share=0.15,
    cut_share=0.15,
    other_person_share=0.1,
    colour=0.15,
)
"""For the end of a run: people nearly as pictures show them."""


SPORT = {"lspet": 1, "lsp": 6}
"""How often people of the sport pictures, nearly all whole, are shown in an epoch. LSP-extended is 44 % of the people:
small, blurred, upside down more often than people elsewhere, and 5 % wrongly labelled. A run that is short of samples
learns more from the others."""
WHOLE, NO_LEGS, HEADLESS, PORTRAIT = 2, 4, 6, 10
"""How often people elsewhere are, by what is labelled of them."""


def repeats(person: Person) -> int:
    """How often somebody is shown in an epoch.

    Heads and shoulders, people whose head is hidden or beyond the picture's edge, and people without knees are few here
    and most in everyday photographs: people sit at tables, or close to the camera.
    """
    if person.source in SPORT:
        return SPORT[person.source]
    labelled = person.weights > 0
    if labelled[HEAD].sum() < 2:
        return HEADLESS
    if labelled[KNEES].any():
        return WHOLE
    return NO_LEGS if labelled[HIPS].any() else PORTRAIT


def target_sigma(height: int) -> float:
    """Standard deviation of the target Gaussian: 2 px on 64-high heatmaps, 3 on 96, never under 1.5."""
    return max(1.5, height / 32)


@dataclass(frozen=True)
class PoseTask:
    """Heatmap regression on the people of ``train.json``, judged on ``dev.json``.

    Attributes:
        data: folder with ``train.json``, ``dev.json`` and ``images/``.
        labels: file of cleaned labels, from ``python -m converters clean``.
    """

    data: Path
    criterion: HeatmapLoss = field(default_factory=HeatmapLoss)
    augmentation: Augmentation = FEW_EPOCHS
    judged_by: tuple[str, ...] = ("pck", "ap")
    labels: Path | None = None

    def samples(self, stage: Stage, seed: int) -> PoseSamples:
        labels = read_labels(self.labels)
        augmentation = CALM if stage.calm else self.augmentation
        pictures, annotations = self.data / "images", self.data / "train.json"
        return PoseSamples(annotations, pictures, stage.input_size, augmentation, seed, labels, repeats)

    def loss(self, outputs: Tensor, pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        return self.criterion(outputs, *self.targets(outputs, truth))

    def targets(self, outputs: Tensor, truth: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Target heatmaps of the outputs' size, and the weights (N, K) of the keypoints."""
        xy, weights = truth
        height, width = outputs.shape[2:]
        return gaussian_targets(xy, (width, height), target_sigma(height)), weights

    def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
        device = next(network.parameters()).device

        def forward(crops: Tensor) -> Tensor:
            with mixed_precision(device), torch.inference_mode():
                out: Tensor = network(crops.to(device).contiguous(memory_format=torch.channels_last))
            return out

        return self._validation(forward, stage.input_size)

    def for_trained(self, samples: int) -> PoseTask:
        """For a network that has seen so many samples: the full strength of augmentation, once it needs it."""
        return replace(self, augmentation=MANY_EPOCHS) if samples >= LEARNT_BY_HEART else self

    @cached_property
    def _validation(self) -> PoseValidation:
        return PoseValidation(self.data)
