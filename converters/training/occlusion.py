"""Another person in front of the one to find: the training pictures mostly show one, users' pictures often several.

A cheap relative of copy-paste augmentation: there are no masks, so a figure drawn around the keypoints stands for one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.training.augmentation import HEAD
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
SHOULDERS_AND_HIPS = (5, 6, 12, 11)
LIMB_WIDTH = 0.35
"""Drawn width of arms and legs over the length of the torso; clothes and a rim of background are inside it."""
HEAD_RADIUS = 0.38
LARGEST_COVER = 0.4
"""Share of the first person's keypoints that the second may stand before."""


def silhouette(keypoints: Array, labelled: Array, size: tuple[int, int]) -> NDArray[np.float32] | None:
    """How far a pixel belongs to a person, from 0 to 1, with a soft edge.

    Args:
        keypoints: (17, 2) xy, pixels of the crop.
        labelled: (17,) bool.
        size: (width, height) of the crop.

    Returns:
        (height, width), or None where shoulders or hips are not labelled.
    """
    if not labelled[list(SHOULDERS_AND_HIPS)].all():
        return None
    corners = keypoints[list(SHOULDERS_AND_HIPS)]
    torso = float(np.linalg.norm(corners[:2].mean(axis=0) - corners[2:].mean(axis=0)))
    mask = np.zeros((size[1], size[0]), dtype=np.float32)
    thickness = max(2, round(LIMB_WIDTH * torso))
    points = np.clip(keypoints, -4 * size[1], 5 * size[1]).astype(int)
    cv2.fillConvexPoly(mask, cv2.convexHull(points[list(SHOULDERS_AND_HIPS)]), 1.0)
    for start, end in COCO_17.limbs:
        if labelled[start] and labelled[end] and min(start, end) >= HEAD.stop:
            cv2.line(mask, points[start].tolist(), points[end].tolist(), 1.0, thickness)
    if labelled[HEAD].any():
        head = points[HEAD][labelled[HEAD]].mean(axis=0).astype(int)
        cv2.circle(mask, head.tolist(), max(2, round(HEAD_RADIUS * torso)), 1.0, cv2.FILLED)
        cv2.line(mask, head.tolist(), points[[5, 6]].mean(axis=0).astype(int).tolist(), 1.0, thickness)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.03 * torso)), dtype=np.float32)


def put_before(
    crop: NDArray[np.uint8], xy: Array, other: NDArray[np.uint8], mask: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    """The crop with the masked part of ``other`` in front; unchanged where that would hide too much of its person.

    Args:
        crop: (H, W, 3) of the first person.
        xy: (N, 2) labelled keypoints of the crop's person, pixels of the crop.
        other: (H, W, 3) crop of the second person.
        mask: (H, W) from :func:`silhouette`.
    """
    height, width = crop.shape[:2]
    seen = xy[((xy >= 0) & (xy <= (width - 1, height - 1))).all(axis=1)].astype(int)
    if mask is None or len(seen) == 0 or (mask[seen[:, 1], seen[:, 0]] > 0.5).mean() > LARGEST_COVER:
        return crop
    return np.asarray(cv2.blendLinear(other, crop, mask, 1 - mask), dtype=np.uint8)
