"""What a heatmap network is trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def gaussian_targets(xy: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Heatmaps with a unit Gaussian at each keypoint (LPN eq. 5).

    Args:
        xy: (N, K, 2) heatmap pixels, not rounded.
        size: (width, height) of the heatmaps.
        sigma: standard deviation, heatmap pixels.

    Returns:
        (N, K, height, width) float32.
    """
    width, height = size
    columns = torch.arange(width, device=xy.device, dtype=torch.float32)
    rows = torch.arange(height, device=xy.device, dtype=torch.float32)
    scale = -0.5 / sigma**2
    across = torch.exp(scale * (columns - xy[:, :, :1]) ** 2)
    down = torch.exp(scale * (rows - xy[:, :, 1:]) ** 2)
    return down.unsqueeze(3) * across.unsqueeze(2)


REACH = 3.0
"""Standard deviations beyond which a Gaussian of many people's targets is cut off, where it is 0.01."""


def crowd_targets(xy: Tensor, weights: Tensor, size: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
    """Heatmaps with a unit Gaussian at everybody's keypoints; where people meet, the larger one.

    Only pixels near keypoints are computed: a picture has few.

    Args:
        xy: (N, P, K, 2) heatmap pixels, not rounded.
        weights: (N, P, K), 0 where there is no keypoint.
        size: (width, height) of the heatmaps.
        sigma: standard deviation, heatmap pixels.

    Returns:
        Heatmaps and each pixel's weight, (N, K, height, width) float32: its keypoint's near one, 1 elsewhere.
    """
    (width, height), (count, _, joints) = size, weights.shape
    image, person, joint = torch.nonzero(weights > 0, as_tuple=True)
    at = xy[image, person, joint]
    reach = math.floor(REACH * sigma)
    around = torch.arange(-reach, reach + 1, device=xy.device)
    columns, rows = (at.round().long()[:, :, None] + around).unbind(1)
    across = torch.exp(-0.5 / sigma**2 * (columns - at[:, :1]) ** 2)
    down = torch.exp(-0.5 / sigma**2 * (rows - at[:, 1:]) ** 2)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    index = (((image * joints + joint)[:, None] * height + rows)[:, :, None] * width + columns[:, None])[inside]
    values = (down[:, :, None] * across[:, None])[inside]
    trusts = weights[image, person, joint][:, None, None].expand(inside.shape)[inside]
    heatmaps = torch.zeros(count * joints * height * width, device=xy.device).scatter_reduce(0, index, values, "amax")
    largest = values >= heatmaps[index]
    trust = torch.ones_like(heatmaps)
    trust[index[largest]] = trusts[largest]
    shape = count, joints, height, width
    return heatmaps.view(shape), trust.view(shape)


@dataclass(frozen=True)
class HeatmapLoss:
    """Squared error to the target, as in the papers, and a cross-entropy on the position, which learns faster.

    Both are sums over a map's pixels, weighted by each keypoint's trust and averaged over the trust in the batch.

    Attributes:
        cross_entropy: its share beside the squared error; 0 gives the papers' loss.
        sharpness: heatmaps are multiplied by it before the softmax.
    """

    cross_entropy: float = 1.0
    sharpness: float = 10.0

    def __call__(self, heatmaps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Loss of heatmaps (N, K, H, W) against targets of that shape, weights (N, K)."""
        per_keypoint = squared_error(heatmaps, targets)
        if self.cross_entropy:
            log_position = torch.log_softmax(self.sharpness * heatmaps.flatten(2), dim=2)
            position = targets.flatten(2)
            position = position / position.sum(dim=2, keepdim=True).clamp_min(1e-6)
            per_keypoint = per_keypoint - self.cross_entropy * (position * log_position).sum(dim=2)
        return trusted_mean(per_keypoint, weights)


def squared_error(heatmaps: Tensor, targets: Tensor) -> Tensor:
    """(N, K): the squared error of heatmaps (N, K, H, W), summed over the pixels."""
    return ((heatmaps - targets) ** 2).sum(dim=(2, 3))


def trusted_mean(per_keypoint: Tensor, weights: Tensor) -> Tensor:
    """Mean of per-keypoint losses (N, K), each counting as much as it is trusted."""
    return (per_keypoint * weights).sum() / weights.sum().clamp_min(1e-6)
