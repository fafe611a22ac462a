"""Poses drawn onto a picture."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.opencv import cv2
from mobilepose_sdk.skeleton import Skeleton
from mobilepose_sdk.sources import PictureSource, read_picture

if TYPE_CHECKING:
    from mobilepose_sdk.results import PoseResult

Array = NDArray[Any]
Color = tuple[int, int, int]

# BGR. Blue and orange stay apart for every common colour blindness, and differ in lightness too.
LEFT: Color = (255, 190, 80)
RIGHT: Color = (0, 105, 240)
CENTRE: Color = (235, 235, 235)
OUTLINE: Color = (40, 34, 30)
BOX: Color = (235, 235, 235)

DRAWN_SCORE = 0.3
"""Keypoints below this are not drawn unless asked for: most are guesses, which jump from frame to frame."""
_SHIFT = 4
"""OpenCV draws at fractions of 2**-_SHIFT pixels."""


def draw_poses(image: PictureSource, result: PoseResult, *, min_score: float = DRAWN_SCORE) -> NDArray[np.uint8]:
    """Draw boxes, limbs and keypoints onto a copy of a picture.

    The person's left is blue, the right orange, what joins the two white; everything is outlined, to be seen on any
    background. Lines grow with the person and the picture. The highest-scored person is drawn last, on top. People who
    are followed have their number in the box's corner.

    Args:
        image: the picture the result came from: anything :func:`mobilepose_sdk.sources.read_picture` reads, arrays BGR.
        result: the people.
        min_score: keypoints below it, and limbs that end in one, are left out. So are keypoints that are not finite or
            lie more than the picture's diagonal outside it.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InvalidInputError: the picture is not of ``result.image_size``, or ``min_score`` is no number.
    """
    if not isinstance(min_score, Real) or math.isnan(min_score):
        raise InvalidInputError(f"min_score must be a number, got {min_score!r}")
    canvas = read_picture(image).copy()
    height, width = canvas.shape[:2]
    if (width, height) != result.image_size:
        expected = "×".join(map(str, result.image_size))
        raise InvalidInputError(f"the picture is {width}×{height}, the result is for {expected}: pass the same picture")
    for person in np.argsort(result.scores, kind="stable"):
        keypoints = result.keypoints[person]
        shown = _drawable(keypoints, (width, height)) & (result.keypoint_scores[person] >= min_score)
        thickness = _thickness(result.boxes[person], (width, height))
        _draw_box(canvas, result.boxes[person], thickness)
        _draw_limbs(canvas, keypoints, shown, result.skeleton, thickness)
        _draw_keypoints(canvas, keypoints, shown, result.skeleton, thickness)
        if result.track_ids is not None:
            _draw_number(canvas, result.boxes[person], int(result.track_ids[person]), thickness)
    return np.asarray(canvas, dtype=np.uint8)


def _drawable(keypoints: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(K,) whether a keypoint is finite and near enough for OpenCV's fixed-point coordinates."""
    reach = math.hypot(*size)
    near = (keypoints >= -reach) & (keypoints <= np.asarray(size) + reach)
    return np.asarray(near.all(axis=1), dtype=np.bool_)


def _thickness(box: Array, size: tuple[int, int]) -> float:
    """Width of a limb in pixels: a hundredth of the person, within what suits the picture."""
    diagonal = math.hypot(*size)
    x1, y1, x2, y2 = np.clip(np.nan_to_num(box), 0, diagonal).tolist()
    return float(np.clip(0.011 * max(x2 - x1, y2 - y1), max(1.0, 0.0015 * diagonal), max(1.0, 0.008 * diagonal)))


def _draw_box(canvas: NDArray[np.uint8], box: Array, thickness: float) -> None:
    if not np.isfinite(box).all():
        return
    height, width = canvas.shape[:2]
    line = max(1, round(thickness / 4))
    margin = line + 3
    corners = np.clip(box, -margin, np.array([width, height, width, height]) + margin)
    x1, y1, x2, y2 = np.rint(corners).astype(int).tolist()
    cv2.rectangle(canvas, (x1, y1), (x2, y2), OUTLINE, line + 2)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), BOX, line)


def _draw_limbs(
    canvas: NDArray[np.uint8], keypoints: Array, shown: Array, skeleton: Skeleton, thickness: float
) -> None:
    colors = limb_colors(skeleton)
    outline = thickness * 1.5 + 1
    for width, outlined in ((outline, True), (thickness, False)):
        for (start, end), color in zip(skeleton.limbs, colors, strict=True):
            if shown[start] and shown[end]:
                ends = _fixed_point(keypoints[start]), _fixed_point(keypoints[end])
                cv2.line(canvas, *ends, OUTLINE if outlined else color, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def _draw_keypoints(
    canvas: NDArray[np.uint8], keypoints: Array, shown: Array, skeleton: Skeleton, thickness: float
) -> None:
    radius = max(1.5, thickness * 1.1)
    for index in np.nonzero(shown)[0]:
        centre = _fixed_point(keypoints[index])
        for size, color in ((radius + max(1.0, thickness * 0.3), OUTLINE), (radius, keypoint_colors(skeleton)[index])):
            cv2.circle(canvas, centre, round(size * 2**_SHIFT), color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _draw_number(canvas: NDArray[np.uint8], box: Array, number: int, thickness: float) -> None:
    """In the upper left corner of the box, or of what the picture shows of it."""
    if not np.isfinite(box).all():
        return
    text, font = str(number), cv2.FONT_HERSHEY_SIMPLEX
    scale, line = max(0.4, thickness / 6), max(1, round(thickness / 3))
    (width, height), below = cv2.getTextSize(text, font, scale, line)
    size = np.array([width, height]) + 2 * below
    x, y = np.clip(box[:2], 0, np.maximum(np.array(canvas.shape[1::-1]) - size, 0)).round().astype(int).tolist()
    cv2.rectangle(canvas, (x, y), (x + int(size[0]), y + int(size[1])), OUTLINE, cv2.FILLED)
    cv2.putText(canvas, text, (x + below, y + below + height), font, scale, BOX, line, cv2.LINE_AA)


def _fixed_point(xy: Array) -> tuple[int, int]:
    return round(float(xy[0]) * 2**_SHIFT), round(float(xy[1]) * 2**_SHIFT)


@lru_cache(maxsize=16)
def keypoint_colors(skeleton: Skeleton) -> tuple[Color, ...]:
    """BGR of every keypoint, by the side its name begins with."""
    return tuple({"left": LEFT, "right": RIGHT}.get(name.partition("_")[0], CENTRE) for name in skeleton.names)


@lru_cache(maxsize=16)
def limb_colors(skeleton: Skeleton) -> tuple[Color, ...]:
    """BGR of every limb: a side's colour unless it joins the left to the right."""
    colors = keypoint_colors(skeleton)

    def of(ends: tuple[int, int]) -> Color:
        sides = {colors[end] for end in ends} - {CENTRE}
        return sides.pop() if len(sides) == 1 else CENTRE

    return tuple(of(limb) for limb in skeleton.limbs)
