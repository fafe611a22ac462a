"""The task of the person detector: centres, sizes and offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from converters.training.augmentation import Augmentation
from converters.training.loop import Recipe, Stage
from converters.training.scenes import Scenes
from converters.training.validation import DetectionValidation

STRIDE = 8
DETECTION_RECIPE = Recipe(stages=(Stage((192, 192), 0.5), Stage((320, 320), 1.0)), batch=16, peak_rate=1e-3)
POSITIVE = 0.5
"""Map pixels whose Gaussian is above this learn the box as well."""


def centre_gaussians(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, P, H, W) one elliptical Gaussian a person, as wide as its box (CenterNet); 0 where the box is NaN.

    Args:
        boxes: (N, P, 4) xyxy, map pixels, NaN for nobody.
        size: (width, height) of the map.
    """
    width, height = size
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    sigma = ((boxes[..., 2:] - boxes[..., :2]) * 0.12).clamp_min(0.6)
    # The Gaussian peaks at the pixel that holds the centre, so that every person has one certain positive.
    cells = centres.round()
    across = torch.arange(width, device=boxes.device) - cells[..., :1]
    down = torch.arange(height, device=boxes.device) - cells[..., 1:]
    gaussian = torch.exp(-0.5 * (down / sigma[..., 1:]) ** 2).unsqueeze(-1)
    return (gaussian * torch.exp(-0.5 * (across / sigma[..., :1]) ** 2).unsqueeze(-2)).nan_to_num(0.0)


def centre_loss(logits: Tensor, target: Tensor) -> Tensor:
    """CenterNet's penalty-reduced focal loss of centre logits (N, H, W), per person."""
    probability = logits.sigmoid()
    positive = target >= 0.999
    hit = nn.functional.logsigmoid(logits) * (1 - probability) ** 2
    miss = nn.functional.logsigmoid(-logits) * probability**2 * (1 - target) ** 4
    return -torch.where(positive, hit, miss).sum() / positive.sum().clamp_min(1)


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU of boxes (…, 4) xyxy, -1 to 1."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (high - low).clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (first, second)]
    union = areas[0] + areas[1] - overlap
    low, high = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    hull = (high - low).prod(-1).clamp_min(1e-6)
    return overlap / union.clamp_min(1e-6) - (hull - union) / hull


def map_boxes(outputs: Tensor) -> Tensor:
    """(N, H, W, 4) the xyxy box, in map pixels, that every pixel of the output (N, 5, H, W) stands for."""
    height, width = outputs.shape[2:]
    grid = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    centre = torch.stack(grid).to(outputs) + outputs[:, 3:5]
    half = outputs[:, 1:3].clamp(-5, 6).exp() / 2
    return torch.cat([centre - half, centre + half], dim=1).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class DetectionTask:
    """Person detection on the fully annotated pictures of ``train.json``, judged on ``dev.json``."""

    data: Path
    augmentation: Augmentation = field(default_factory=Augmentation)
    box_weight: float = 2.0
    judged_by: tuple[str, ...] = ("ap50",)

    def samples(self, stage: Stage, seed: int) -> Scenes:
        return Scenes(self.data, stage.input_size, self.augmentation, seed)

    def loss(self, outputs: Tensor, pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        boxes = truth[0] / STRIDE
        gaussians = centre_gaussians(boxes, (outputs.shape[3], outputs.shape[2]))
        target, person = gaussians.max(dim=1)
        loss = centre_loss(outputs[:, 0], target)
        batch, row, column = (target > POSITIVE).nonzero(as_tuple=True)
        wanted = boxes[batch, person[batch, row, column]]
        weights = target[batch, row, column]
        misfit = (1 - giou(map_boxes(outputs)[batch, row, column], wanted)) * weights
        return loss + self.box_weight * misfit.sum() / weights.sum().clamp_min(1)

    def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
        device = next(network.parameters()).device

        def forward(picture: np.ndarray) -> np.ndarray:
            batch = torch.from_numpy(picture).permute(2, 0, 1)[None].to(device)
            with torch.autocast(device.type, torch.bfloat16), torch.inference_mode():
                return np.asarray(network(batch)[0].float().cpu().numpy())

        return self._validation(forward, stage.input_size)

    @cached_property
    def _validation(self) -> DetectionValidation:
        return DetectionValidation(self.data)
