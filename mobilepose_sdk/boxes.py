"""Boxes: overlap and non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError

Array = NDArray[Any]
SMALLEST_SIDE, LARGEST_SIDE = 1e-6, 1e9
"""Pixels. Beyond these a crop's matrix overflows."""


def iou_matrix(first: Array, second: Array) -> NDArray[np.float32]:
    """Intersection over union of boxes (N, 4) and (M, 4), xyxy: (N, M) float32; 0 for boxes without an area."""
    first = np.asarray(first, dtype=np.float32).reshape(-1, 4)
    second = np.asarray(second, dtype=np.float32).reshape(-1, 4)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=2)
    union = box_areas(first)[:, None] + box_areas(second)[None] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0), dtype=np.float32)


def box_areas(boxes: Array) -> NDArray[np.float32]:
    """(N,) areas of xyxy boxes (N, 4)."""
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1), dtype=np.float32)


def keypoint_boxes(keypoints: Array, shown: Array, margin: float, smallest: float) -> NDArray[np.float32]:
    """People's boxes from their keypoints: the extent of those that count, grown on all four sides.

    Args:
        keypoints: (N, K, 2), pixels.
        shown: (N, K) bool, the keypoints that count, at least one a person.
        margin: how much is added on each side, as a part of the extent's longer side.
        smallest: least that is added on each side, pixels.

    Returns:
        (N, 4) float32 xyxy.
    """
    far = np.float32(np.inf)
    low = np.where(shown[:, :, None], keypoints, far).min(axis=1, initial=far)
    high = np.where(shown[:, :, None], keypoints, -far).max(axis=1, initial=-far)
    grown = np.maximum((high - low).max(axis=1, keepdims=True, initial=0) * margin, smallest)
    return np.concatenate([low - grown, high + grown], axis=1).astype(np.float32)


def box_nms(boxes: Array, scores: Array, threshold: float) -> NDArray[np.intp]:
    """Greedy suppression: indices of the kept boxes, highest score first; IoU above ``threshold`` drops the lower."""
    order = np.argsort(-scores, kind="stable")
    overlaps = iou_matrix(boxes[order], boxes[order])
    alive = np.ones(len(order), dtype=bool)
    for index in range(len(order)):
        if alive[index]:
            alive[index + 1 :] &= overlaps[index, index + 1 :] <= threshold
    return order[alive]


def checked_boxes(boxes: Any, image_size: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes (N, 4) float32 that can be cropped from a picture.

    Args:
        boxes: anything NumPy makes (N, 4) numbers of, xyxy; an empty sequence is nobody.
        image_size: (width, height) of the picture.

    Raises:
        InvalidInputError: another shape, NaN or infinity, no area, sides beyond all reason, or wholly outside the
            picture.
    """
    try:
        array = np.asarray(boxes)
        if np.iscomplexobj(array):
            raise TypeError("they are complex")
        if np.ma.is_masked(boxes):
            raise TypeError("some are masked; leave those people out")
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"boxes must be numbers of shape (N, 4), xyxy: {error}") from error
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InvalidInputError(f"boxes must have shape (N, 4), xyxy, got {array.shape}; one box is [[x1, y1, x2, y2]]")
    width, height = image_size
    if all(
        SMALLEST_SIDE <= x2 - x1 <= LARGEST_SIDE and SMALLEST_SIDE <= y2 - y1 <= LARGEST_SIDE
        and x2 > 0 and y2 > 0 and x1 < width and y1 < height
        for x1, y1, x2, y2 in array.tolist()
    ):  # fmt: skip
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        sides = array[:, 2:] - array[:, :2]
    wrong = {
        "hold NaN or infinity": ~np.isfinite(array).all(axis=1),
        "have no area (xyxy is x1, y1, x2, y2 with x2 > x1 and y2 > y1)": (sides <= 0).any(axis=1),
        f"have a side under {SMALLEST_SIDE:g} or over {LARGEST_SIDE:g} pixels": (
            ((sides < SMALLEST_SIDE) | (sides > LARGEST_SIDE)).any(axis=1)
        ),
        f"lie wholly outside the {width}×{height} picture": (
            (array[:, 2:] <= 0).any(axis=1) | (array[:, 0] >= width) | (array[:, 1] >= height)
        ),
    }
    for problem, rows in wrong.items():
        if rows.any():
            row = int(rows.argmax())
            raise InvalidInputError(f"boxes {problem}: row {row} is {array[row].tolist()}")
    return array
