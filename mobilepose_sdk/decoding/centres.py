"""Centre maps of the person detector to boxes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import box_nms
from mobilepose_sdk.errors import InvalidInputError

Array = NDArray[Any]
CANDIDATES = 100
NMS_IOU = 0.6


def decode_centres(output: Array, stride: int, min_score: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes of one picture from the detector's output (CenterNet's decoding).

    Args:
        output: (5, H, W) float: centre logit, log width, log height, offset x, offset y, in map pixels.
        stride: input pixels per map pixel.
        min_score: people below this score, 0 to 1, are left out.

    Returns:
        boxes (N, 4) float32 xyxy in input pixels and scores (N,) float32, highest first.

    Raises:
        InvalidInputError: the output holds NaN or infinity.
    """
    if not np.isfinite(output).all():
        raise InvalidInputError("the detector's output holds NaN or infinity: its weights or its input are broken")
    logits = np.ascontiguousarray(output[0], dtype=np.float32)
    # A constant 3×3 border of -inf is OpenCV's default for dilation, so borders can hold peaks.
    peaks = (logits == cv2.dilate(logits, np.ones((3, 3), np.uint8))) & (logits > np.log(min_score / (1 - min_score)))
    row, column = _one_each(peaks)
    if len(row) > CANDIDATES:
        best = np.argpartition(-logits[row, column], CANDIDATES)[:CANDIDATES]
        row, column = row[best], column[best]
    values = np.asarray(output[:, row, column], dtype=np.float32)
    half = np.exp(np.clip(values[1:3], -10, 10)) / 2
    centre = np.stack([column, row]) + values[3:5]
    boxes = (np.concatenate([centre - half, centre + half]).T * stride).astype(np.float32)
    scores = (1 / (1 + np.exp(-values[0]))).astype(np.float32)
    kept = box_nms(boxes, scores, NMS_IOU)
    return boxes[kept], scores[kept]


def _one_each(peaks: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the peaks (H, W), of those that touch only the middle one: they are one plateau."""
    row, column = np.nonzero(peaks)
    plateau = cv2.connectedComponents(peaks.astype(np.uint8))[1][row, column]
    order = np.argsort(plateau, kind="stable")
    _, first, count = np.unique(plateau[order], return_index=True, return_counts=True)
    middle = order[first + count // 2]
    return row[middle], column[middle]
