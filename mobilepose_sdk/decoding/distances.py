"""The person detector's maps to boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import box_nms
from mobilepose_sdk.errors import InvalidInputError

Array = NDArray[Any]
STRIDES = (8, 16, 32)
"""Input pixels per map pixel of the three maps."""
BINS = 11
"""A side's distance is one of 0 to 10 map pixels, or in between."""
CANDIDATES = 100
NMS_IOU = 0.6


def decode_distances(outputs: Sequence[Array], min_score: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes of one picture from the detector's three maps (Generalized Focal Loss §3.1, §3.2).

    Args:
        outputs: (1 + 4 · :data:`BINS`, H, W) float, one a stride of :data:`STRIDES`: a person's logit, and the logits
            of how many map pixels the box's left, upper, right and lower side are away from the cell's centre.
        min_score: people below this score, 0 to 1, are left out.

    Returns:
        boxes (N, 4) float32 xyxy in input pixels and scores (N,) float32, highest first.

    Raises:
        InvalidInputError: the outputs are others than these, or hold NaN or infinity.
    """
    if [output.shape[0] for output in outputs] != [1 + 4 * BINS] * len(STRIDES):
        raise InvalidInputError(
            f"a detector must have {len(STRIDES)} outputs of {1 + 4 * BINS} channels, for the strides {STRIDES}; "
            f"got shapes {[output.shape for output in outputs]}: its files are of another kind of detector"
        )
    if not all(np.isfinite(output).all() for output in outputs):
        raise InvalidInputError("the detector's output holds NaN or infinity: its weights or its input are broken")
    cells = [_cells(output, stride, min_score) for output, stride in zip(outputs, STRIDES, strict=True)]
    logits, distances, centres = (np.concatenate(parts) for parts in zip(*cells))
    if len(logits) > CANDIDATES:
        best = np.argpartition(-logits, CANDIDATES)[:CANDIDATES]
        logits, distances, centres = logits[best], distances[best], centres[best]
    boxes = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    kept = box_nms(boxes, scores, NMS_IOU)
    return boxes[kept], scores[kept]


def _cells(output: Array, stride: int, min_score: float) -> tuple[Array, Array, Array]:
    """Logits (N,), distances (N, 4) and centres (N, 2), in input pixels, of the cells that see somebody."""
    row, column = np.nonzero(output[0] > np.log(min_score / (1 - min_score)))
    values = np.asarray(output[:, row, column], dtype=np.float32).T
    likely = values[:, 1:].reshape(-1, 4, BINS)
    likely = np.exp(likely - likely.max(axis=2, keepdims=True))
    distances = likely @ np.arange(BINS, dtype=np.float32) / likely.sum(axis=2)
    centres = np.stack([column, row], axis=1).astype(np.float32) + np.float32(0.5)
    return values[:, 0], distances * np.float32(stride), centres * np.float32(stride)
