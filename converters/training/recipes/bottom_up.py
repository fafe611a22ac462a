"""EfficientHRNet's training (§4.2): heatmaps at 1/4 and 1/2 of the picture, and tags that tell people apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from converters.training.augmentation import Augmentation
from converters.training.crowds import Crowds
from converters.training.loop import Recipe, Stage
from converters.training.losses import crowd_targets
from converters.training.people import read_labels
from converters.training.schedule import Cosine
from converters.training.validation import BottomUpValidation

SIGMA = 2.0
"""Of the target Gaussians at both resolutions, as in HigherHRNet, map pixels."""
EMPHASIS = 4.0
"""How many times more the peak of a target counts, beside what every pixel counts."""
STEM = ("features.0.", "features.1.", "features.2.")
"""The layers that see the largest maps, left alone at full size: steps are much faster."""


def recipe(input_size: tuple[int, int]) -> Recipe:
    """A half of the side, two thirds of it (both multiples of 32), then all of it, about a third of the budget each.

    At the same number of samples, a rate of 1e-2 finds more keypoints than 5e-3, which finds more than 1.5e-3; 4e-2
    finds fewer again.
    """
    width, height = input_size
    half, most = ((round(width * share / 32) * 32, round(height * share / 32) * 32) for share in (1 / 2, 2 / 3))
    stages = (Stage(half, 0.4), Stage(most, 0.7), Stage(input_size, 1.0, STEM))
    return Recipe(stages, batch=16, peak_rate=1e-2, schedule=Cosine(rise=(0.7, 0.5)))


def map_pixels(xy: Tensor, stride: int) -> Tensor:
    """Input pixels to pixels of a map, both counted from their centres."""
    return (xy + 0.5) / stride - 0.5


def heatmap_error(heatmaps: Tensor, keypoints: Tensor, weights: Tensor, masked: Tensor, stride: int) -> Tensor:
    """Squared error of heatmaps (N, K, H, W), averaged over the pixels, 0 where they are masked.

    The papers' error, but for :data:`EMPHASIS`: all but one in a hundred of a map's pixels are nobody's keypoint, and
    a network that has seen little learns that first.

    Args:
        heatmaps: the network's.
        keypoints: (N, P, K, 2) input pixels.
        weights: (N, P, K), 0 where there is none. The target is the largest Gaussian of all people; a keypoint that is
            only partly trusted lowers the weight of its surroundings.
        masked: (N, Q, 4) xyxy input pixels, NaN for none.
        stride: input pixels a map pixel.
    """
    height, width = heatmaps.shape[2:]
    target, trust = crowd_targets(map_pixels(keypoints, stride), weights, (width, height), SIGMA)
    counts = trust * (1 + EMPHASIS * target) * visible(masked, (width, height), stride).unsqueeze(1)
    return ((heatmaps - target) ** 2 * counts).mean()


def visible(masked: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """(N, H, W): 0 inside the masked boxes (N, Q, 4), 1 elsewhere."""
    low, high = map_pixels(masked[..., :2], stride), map_pixels(masked[..., 2:], stride)
    columns = torch.arange(size[0], device=masked.device)
    rows = torch.arange(size[1], device=masked.device)
    across = (columns >= low[..., :1]) & (columns <= high[..., :1])
    down = (rows >= low[..., 1:]) & (rows <= high[..., 1:])
    covering = down.float().transpose(1, 2) @ across.float()  # how many boxes lie over a pixel
    return (covering == 0).float()


def grouping_error(tags: Tensor, keypoints: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Pull a person's tags together and push people's mean tags apart (associative embedding; §3.1.3).

    ``pull = mean over people of the variance of their tags``; ``push = ½ · mean over pairs of exp(-(difference)²)``.

    Args:
        tags: (N, K, H, W).
        keypoints: (N, P, K, 2) input pixels.
        weights: (N, P, K); above 0 where there is a keypoint.
        stride: input pixels a map pixel.
    """
    height, width = tags.shape[2:]
    cell = map_pixels(keypoints, stride).round().long()
    index = cell[..., 1].clamp(0, height - 1) * width + cell[..., 0].clamp(0, width - 1)
    read = tags.flatten(2).gather(2, index.transpose(1, 2)).transpose(1, 2)
    there = (weights > 0).float()
    count = there.sum(dim=2)
    mean = (read * there).sum(dim=2) / count.clamp_min(1)
    somebody = (count > 0).float()
    variance = ((read - mean.unsqueeze(2)) ** 2 * there).sum(dim=2) / count.clamp_min(1)
    people = somebody.sum(dim=1)
    pull = (variance * somebody).sum(dim=1) / people.clamp_min(1)
    pairs = somebody.unsqueeze(1) * somebody.unsqueeze(2)
    pairs = pairs * (1 - torch.eye(pairs.shape[1], device=pairs.device))
    likeness = torch.exp(-((mean.unsqueeze(1) - mean.unsqueeze(2)) ** 2)) * pairs
    push = 0.5 * likeness.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)
    return (pull + push).mean()


@dataclass(frozen=True)
class BottomUpTask:
    """Heatmaps at two scales and tags at one, on the fully annotated pictures; judged by AP on ``dev.json``.

    Attributes:
        data: folder with ``train.json``, ``dev.json`` and ``images/``.
        grouping_weight: of the tag loss beside the heatmap losses (§4.2).
        labels: file of cleaned labels, from ``python -m converters clean``.
    """

    data: Path
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(rotation=30, aspect=1.3, scale=0.4))
    grouping_weight: float = 1e-3
    judged_by: tuple[str, ...] = ("ap",)
    labels: Path | None = None

    def samples(self, stage: Stage, seed: int) -> Crowds:
        labels = read_labels(self.labels)
        return Crowds(self.data, stage.input_size, self.augmentation, seed, labels=labels)

    def loss(self, outputs: tuple[Tensor, Tensor], pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        coarse, fine = outputs
        keypoints, weights, masked = truth
        count = fine.shape[1]
        stride = pictures.shape[3] // coarse.shape[3]
        errors = heatmap_error(coarse[:, :count], keypoints, weights, masked, stride)
        errors = errors + heatmap_error(fine, keypoints, weights, masked, stride // 2)
        return errors + self.grouping_weight * grouping_error(coarse[:, count:], keypoints, weights, stride)

    def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
        return self._validation(network, stage.input_size)

    @cached_property
    def _validation(self) -> BottomUpValidation:
        return BottomUpValidation(self.data)
