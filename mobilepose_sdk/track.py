"""One person who is followed: the last pose, and what it says of the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.pipelines.people import CONFIDENT
from mobilepose_sdk.smoothing import OneEuro

Array = NDArray[Any]
VELOCITY_SECONDS, CROWDED_VELOCITY_SECONDS = 0.25, 1.0
"""How far back the memory of a person's velocity reaches; further in a crowd, whose poses are less to be trusted."""
LONGEST_GUESS = 0.5
"""Seconds after which a person out of sight is no longer thought to move on."""
TREMBLE = 0.3
"""Person sizes a second; slower motion is mostly noise, and counts the less the slower it is."""
STILL_IOU = 0.8
"""Where a person will be looked for moves with their velocity, and is taken anew from their keypoints when it overlaps
these less than this: otherwise every tremble of the keypoints would move the crop, and so the next keypoints."""
DOUBTFUL_SCORE, DOUBTFUL_GROWTH = 0.6, 1.3
"""In a crowd, and for a person out of sight, a pose counts only with this share of their usual score, and a size within
this factor of their usual size."""
USUAL_MEMORY = 0.1
"""Weight of the newest score and size in the usual ones."""


@dataclass(eq=False)
class Sighting:
    """A pose at a time.

    Attributes:
        keypoints: (K, 2), pixels.
        keypoint_scores: (K,).
        box: (4,) xyxy, pixels.
        score: the person's.
        timestamp: seconds.
        crowded: whether another person's box overlaps theirs.
    """

    keypoints: Array
    keypoint_scores: Array
    box: Array
    score: float
    timestamp: float
    crowded: bool = False

    @property
    def size(self) -> float:
        """Square root of the box's area, at least 1 pixel."""
        x1, y1, x2, y2 = self.box.tolist()
        return max(math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0)), 1.0)


class Track:
    """One person.

    Args:
        number: their track id.
        smooth: their filter; None leaves keypoints as they are.

    Attributes:
        box: (4,) of the last pose.
        crop: (4,) where to look for them in a frame of that time.
        seen: when that was, seconds.
        sightings: number of poses so far.
        smoothed: (K, 2) keypoints, smoothed.
        smoothed_box: (4,), likewise.
    """

    def __init__(self, number: int, smooth: OneEuro | None) -> None:
        self.number, self._smooth = number, smooth
        self.seen, self.sightings = -math.inf, 0
        self._velocity, self._size = (0.0, 0.0), 1.0
        self._usual_score, self._usual_size = 0.0, 1.0

    def see(self, pose: Sighting) -> None:
        """Take the next pose."""
        size = pose.size
        if self.sightings == 0:
            self._usual_score, self._usual_size, self.crop = pose.score, size, pose.box
        else:
            self._move(pose)
            if overlap(self.crop, pose.box) < STILL_IOU:
                self.crop = pose.box
            if not pose.crowded:
                self._usual_score += USUAL_MEMORY * (pose.score - self._usual_score)
                self._usual_size += USUAL_MEMORY * (size - self._usual_size)
        self._last, self.box, self.seen, self._size = pose, pose.box, pose.timestamp, size
        self.sightings += 1
        points = np.concatenate([pose.keypoints, pose.box.reshape(2, 2)])
        if self._smooth is not None:
            points = self._smooth(points, pose.timestamp, size)
        self.smoothed, self.smoothed_box = points[:-2], points[-2:].reshape(4)

    def _move(self, pose: Sighting) -> None:
        """Take over the velocity that leads to the next pose."""
        seconds = pose.timestamp - self.seen
        shown = (pose.keypoint_scores > CONFIDENT) & (self._last.keypoint_scores > CONFIDENT)
        if shown.any():
            steps = (pose.keypoints - self._last.keypoints)[shown]
            x, y = (np.add.reduce(steps, axis=0) / (len(steps) * seconds)).tolist()
            gain = 1 - math.exp(-seconds / (CROWDED_VELOCITY_SECONDS if pose.crowded else VELOCITY_SECONDS))
            before_x, before_y = self._velocity
            self._velocity = before_x + gain * (x - before_x), before_y + gain * (y - before_y)
        self.crop = moved(self.crop, self.shift(pose.timestamp))

    def shift(self, timestamp: float) -> tuple[float, float]:
        """How many pixels to the right and down the person will have moved since they were seen, as a guess."""
        x, y = self._velocity
        speed = math.hypot(x, y) / self._size
        share = speed**2 / (speed**2 + TREMBLE**2) * min(timestamp - self.seen, LONGEST_GUESS)
        return x * share, y * share

    def guess(self, timestamp: float) -> Sighting:
        """Where they will be."""
        last, shift = self._last, self.shift(timestamp)
        keypoints = last.keypoints + np.array(shift, dtype=np.float32)
        return Sighting(keypoints, last.keypoint_scores, moved(last.box, shift), last.score, timestamp)

    def is_unlike(self, pose: Sighting) -> bool:
        """Whether a pose is far less sure, or far larger or smaller, than theirs usually are."""
        growth = pose.size / self._usual_size
        unsure = pose.score < DOUBTFUL_SCORE * self._usual_score
        return unsure or not 1 / DOUBTFUL_GROWTH <= growth <= DOUBTFUL_GROWTH


def moved(box: Array, shift: tuple[float, float]) -> NDArray[np.float32]:
    """A box (4,) elsewhere."""
    (x1, y1, x2, y2), (x, y) = box.tolist(), shift
    return np.array([x1 + x, y1 + y, x2 + x, y2 + y], dtype=np.float32)


def overlap(first: Array, second: Array) -> float:
    """IoU of two boxes (4,); as :func:`mobilepose_sdk.boxes.iou_matrix`, but quick for just two."""
    a, b, c, d = first.tolist()
    e, f, g, h = second.tolist()
    common = max(min(c, g) - max(a, e), 0.0) * max(min(d, h) - max(b, f), 0.0)
    union = (c - a) * (d - b) + (g - e) * (h - f) - common
    return float(common / union) if union > 0 else 0.0
