"""Which boxes to look into, frame by frame: detection now and then, and between times where people were last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import box_areas, iou_matrix
from mobilepose_sdk.decoding.nms import Method, oks_nms
from mobilepose_sdk.errors import InvalidTypeError
from mobilepose_sdk.options import whole_number
from mobilepose_sdk.pipelines.people import CONFIDENT, DUPLICATE_OKS
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.smoothing import Smoothing
from mobilepose_sdk.tracking import Tracker, Tracking

Array = NDArray[Any]
MARGINS = (0.18, 0.12, 0.18, 0.1)
"""What a person's box has left of, above, right of and below their keypoints, in parts of the keypoints' extent."""
KNOWN_IOU = 0.3
"""A detected box that overlaps a followed one more than this is of a person who is followed already."""
NARROWEST = 4.0
"""Pixels; a box narrower than this holds nothing to be seen."""


def estimates(
    pose: Callable[[Array, Array | None], PoseResult],
    detect: Callable[[Array], Array] | None,
    merge: Callable[[PoseResult], PoseResult],
    *,
    tracking: Tracking | None,
    smoothing: Smoothing | None,
    detect_every: int,
) -> Callable[[Array, float], PoseResult]:
    """What turns a stream's frames and their times into people.

    Args:
        pose: people of a picture; in boxes (N, 4), one pose a box, where they are given.
        detect: boxes of the people in a picture; None for a network that sees everybody at once.
        merge: drops poses of a person who has another.
        tracking, smoothing, detect_every: see :meth:`mobilepose_sdk.PoseEstimator.stream`.

    Raises:
        InvalidInputError: ``detect_every`` is no whole number of at least 1.
        InvalidTypeError: ``tracking`` or ``smoothing`` is something else than their settings, or None.
    """
    detect_every = whole_number("detect_every", detect_every)
    for name, given, kind in (("tracking", tracking, Tracking), ("smoothing", smoothing, Smoothing)):
        if not (given is None or isinstance(given, kind)):
            raise InvalidTypeError(f"{name} is {kind.__name__}(...), or None for none, got {given!r}")
    if tracking is None:
        return lambda image, timestamp: pose(image, None)
    tracker = Tracker(tracking, smoothing)
    if detect is None:
        return lambda image, timestamp: tracker.update(pose(image, None), timestamp)
    return Follower(pose, detect, merge, tracker, detect_every)


class Follower:
    """The poses of one frame after the other, for a network that looks at one person at a time.

    Args:
        pose: poses of a picture (H, W, 3), one for each of some boxes (N, 4).
        detect: boxes (N, 4) of the people in a picture.
        merge: drops poses of a person who has another.
        tracker: knows where people were.
        detect_every: frames from one detection to the next; in between there is one only when somebody was lost.
    """

    def __init__(
        self,
        pose: Callable[[Array, Array], PoseResult],
        detect: Callable[[Array], Array],
        merge: Callable[[PoseResult], PoseResult],
        tracker: Tracker,
        detect_every: int,
    ) -> None:
        self._pose, self._detect, self._merge, self._tracker = pose, detect, merge, tracker
        self._every, self._since = detect_every, detect_every

    def __call__(self, image: Array, timestamp: float) -> PoseResult:
        """Everybody who is tracked in the next frame."""
        boxes = _inside(self._tracker.boxes(timestamp), image.shape)
        self._since += 1
        if self._since >= self._every or self._tracker.searching:
            self._since = 0
            boxes = _joined(boxes, self._detect(image))
        poses = self._merge(self._pose(image, boxes))
        # The boxes that were looked into are those of the last frame.
        own = pose_boxes(poses.keypoints, poses.keypoint_scores, poses.boxes)
        return self._tracker.update(poses, timestamp, own)


def without_duplicates(result: PoseResult, method: Method | None) -> PoseResult:
    """Each person of a result once, by :func:`mobilepose_sdk.decoding.nms.oks_nms`; without a method all of it."""
    if method is None or len(result) < 2:
        return result
    areas, sigmas = box_areas(result.boxes), result.skeleton.sigmas
    poses = result.keypoints, result.keypoint_scores, result.scores
    kept, _ = oks_nms(*poses, areas, method=method, threshold=DUPLICATE_OKS, sigmas=sigmas)
    return result[kept]


def pose_boxes(keypoints: Array, scores: Array, boxes: Array) -> NDArray[np.float32]:
    """People's boxes from their confident keypoints.

    Args:
        keypoints: (N, K, 2), pixels.
        scores: (N, K).
        boxes: (N, 4), taken where fewer than two keypoints are confident.

    Returns:
        (N, 4) float32 xyxy, with :data:`MARGINS`.
    """
    found = np.array(boxes, dtype=np.float32)
    # Person by person: there are few, and NumPy's calls cost more than the arithmetic.
    for box, person, shown in zip(found, keypoints, scores > CONFIDENT):
        points = person[shown]
        if len(points) >= 2:
            (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            # The keypoints of a body that lies down, or is seen from its side, span next to nothing one way.
            least = max(x2 - x1, y2 - y1) / 4
            width, height = max(x2 - x1, least), max(y2 - y1, least)
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            left, above, right, below = MARGINS
            box[:] = (
                x - width * (0.5 + left), y - height * (0.5 + above),
                x + width * (0.5 + right), y + height * (0.5 + below),
            )  # fmt: skip
    return found


def _inside(boxes: Array, shape: tuple[int, ...]) -> Array:
    """Boxes of which enough is in a picture of this shape."""
    height, width = shape[:2]
    visible = [
        min(x2, width) - max(x1, 0.0) >= NARROWEST and min(y2, height) - max(y1, 0.0) >= NARROWEST
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    return boxes if all(visible) else boxes[visible]


def _joined(boxes: Array, detected: Array) -> Array:
    """Followed boxes, and after them the detected ones that are of nobody followed."""
    if len(boxes) and len(detected):
        detected = detected[iou_matrix(detected, boxes).max(axis=1) <= KNOWN_IOU]
    return np.concatenate([boxes, detected])
