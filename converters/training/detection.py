"""The task of the person detector: how well a cell sees somebody, and how far the sides of their box are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.training.augmentation import Augmentation
from converters.training.loop import Recipe, Stage
from converters.training.precision import mixed_precision
from converters.training.scenes import Scenes
from converters.training.validation import DetectionValidation
from mobilepose_sdk.decoding.distances import BINS, STRIDES

DETECTION_RECIPE = Recipe(stages=(Stage((384, 384), 1.0),), batch=16, peak_rate=1e-4)
"""Training starts from weights that were trained for long; new ones would want small pictures first."""
SEEN_BEST = 5.0
"""Map pixels across a person who is one map's to find: as wide as NanoDet's anchors."""
CENTRE = 1.5
"""Cells at most so many map pixels beside a box's middle learn it."""


def levels_of(boxes: Tensor) -> Tensor:
    """(…,) the index in :data:`STRIDES` of the map that finds boxes (…, 4) xyxy in input pixels; 0 for NaN."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-6).prod(-1).sqrt()
    across = size.unsqueeze(-1) / torch.tensor(STRIDES, device=boxes.device)
    return (across / SEEN_BEST).log().abs().nan_to_num(0.0).argmin(-1)


def owners(boxes: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """(N, H, W) the person each cell of a map learns, -1 for nobody; the smallest of several.

    Args:
        boxes: (N, P, 4) xyxy, input pixels, NaN for nobody.
        level: index of the map.
        size: (width, height) of the map.
    """
    here = torch.where((levels_of(boxes) == level).unsqueeze(-1), boxes / STRIDES[level], math.nan)
    column, row = (torch.arange(length, device=boxes.device) + 0.5 for length in size)
    x1, y1, x2, y2 = (side[..., None, None] for side in here.unbind(-1))
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    near = ((column - middle_x).abs() <= CENTRE) & ((row[:, None] - middle_y).abs() <= CENTRE)
    inside = near & (column > x1) & (column < x2) & (row[:, None] > y1) & (row[:, None] < y2)
    area = torch.where(inside, (x2 - x1) * (y2 - y1), math.inf)
    smallest, person = area.min(dim=1)
    return torch.where(smallest.isinf(), -1, person)


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Sum over cells of Generalized Focal Loss' eq. 5 (β = 2): the score is to be the IoU of the cell's box."""
    distance = (quality - logits.sigmoid()).abs() ** 2
    loss: Tensor = (distance * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")).sum()
    return loss


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (…, 4) xyxy, 0 to 1."""
    return _shared(first, second)[0]


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU of boxes (…, 4) xyxy, -1 to 1."""
    iou, union = _shared(first, second)
    low, high = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    hull = (high - low).prod(-1).clamp_min(1e-6)
    return iou - (hull - union) / hull


def _shared(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU, and area of the union."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - common
    return common / union.clamp_min(1e-6), union


def map_boxes(output: Tensor, level: int) -> Tensor:
    """(N, H, W, 4) the xyxy box, in input pixels, that every cell of a map (N, 1 + 4 · BINS, H, W) stands for."""
    height, width = output.shape[2:]
    likely = torch.unflatten(output[:, 1:], 1, (4, BINS)).softmax(dim=2)
    distances = torch.einsum("nsbhw,b->nhws", likely, torch.arange(BINS).to(output))
    grid = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    centres = torch.stack(grid, dim=-1).to(output) + 0.5
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1) * STRIDES[level]


@dataclass(frozen=True)
class DetectionTask:
    """Person detection on the fully annotated pictures of ``train.json``, judged on ``dev.json``."""

    data: Path
    augmentation: Augmentation = field(default_factory=Augmentation)
    box_weight: float = 2.0
    judged_by: tuple[str, ...] = ("ap50",)

    def samples(self, stage: Stage, seed: int) -> Scenes:
        return Scenes(self.data, stage.input_size, self.augmentation, seed)

    def loss(self, outputs: tuple[Tensor, ...], pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        boxes = truth[0]
        score_loss = box_loss = weight = torch.zeros((), device=pictures.device)
        for level, output in enumerate(outputs):
            person = owners(boxes, level, (output.shape[3], output.shape[2]))
            batch, row, column = (person >= 0).nonzero(as_tuple=True)
            wanted = boxes[batch, person[batch, row, column]]
            found = map_boxes(output, level)[batch, row, column]
            quality = torch.zeros_like(output[:, 0])
            quality[batch, row, column] = overlap(found, wanted).detach()
            score_loss = score_loss + quality_focal_loss(output[:, 0], quality)
            weights = output[batch, 0, row, column].detach().sigmoid()
            box_loss = box_loss + ((1 - giou(found, wanted)) * weights).sum()
            weight = weight + weights.sum()
        return (score_loss + self.box_weight * box_loss) / weight.clamp_min(1)

    def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
        device = next(network.parameters()).device

        def forward(picture: np.ndarray) -> list[np.ndarray]:
            batch = torch.from_numpy(picture).permute(2, 0, 1)[None].to(device)
            with mixed_precision(device), torch.inference_mode():
                return [np.asarray(output[0].float().cpu().numpy()) for output in network(batch)]

        return self._validation(forward, stage.input_size)

    @cached_property
    def _validation(self) -> DetectionValidation:
        return DetectionValidation(self.data)
