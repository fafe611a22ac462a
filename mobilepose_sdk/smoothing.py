"""Take the tremble out of keypoints without making them lag: the One-Euro filter (Casiez, Roussel, Vogel 2012).

A low-pass filter whose cutoff rises with speed: a keypoint at rest is averaged over many frames, a fast one over hardly
any. Speed is measured in person sizes a second, so that one setting suits people near and far and every resolution, and
time comes from the frames' own timestamps, so that it suits every and any changing frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.options import number

Array = NDArray[Any]


@dataclass(frozen=True)
class Smoothing:
    """How strongly keypoints are smoothed.

    A person's *size* is the square root of their box's area; somebody who walks by covers about 1.5 sizes a second.

    Attributes:
        min_cutoff: Hz, the cutoff for a keypoint at rest: lower is calmer.
        responsiveness: Hz gained by each size a second of speed (the paper's beta): higher lags less.
        speed_cutoff: Hz, the cutoff for the speed itself.

    Raises:
        InvalidInputError: a cutoff is not a finite number above 0, or the responsiveness not one of at least 0.
    """

    min_cutoff: float = 1.0
    responsiveness: float = 8.0
    speed_cutoff: float = 1.5

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "speed_cutoff"):
            number(name, getattr(self, name), inside=True)
        number("responsiveness", self.responsiveness)


DEFAULT_SMOOTHING = Smoothing()


class OneEuro:
    """The filter of one person's keypoints; each keypoint has a cutoff of its own.

    Args:
        settings: how strongly it smooths.
    """

    def __init__(self, settings: Smoothing) -> None:
        self._settings = settings
        self._last: tuple[float, Array, Array, Array] | None = None  # time, raw, smoothed, velocity

    def __call__(self, keypoints: Array, timestamp: float, size: float) -> NDArray[np.float32]:
        """Smooth the next keypoints.

        Args:
            keypoints: (K, 2) pixels.
            timestamp: seconds; the same as or before the last one's starts the filter again.
            size: of the person in pixels, above 0.

        Returns:
            (K, 2) float32; the first keypoints come back unchanged.
        """
        keypoints = np.asarray(keypoints, dtype=np.float32)
        if self._last is None or timestamp <= self._last[0]:
            self._last = timestamp, keypoints, keypoints, np.zeros_like(keypoints)
            return keypoints
        before, raw, smoothed, velocity = self._last
        seconds = timestamp - before
        settings = self._settings
        velocity = velocity + _gain(settings.speed_cutoff, seconds) * ((keypoints - raw) / seconds - velocity)
        speed = np.hypot(velocity[:, 0], velocity[:, 1]) / max(size, 1e-6)
        cutoff = settings.min_cutoff + settings.responsiveness * speed
        smoothed = smoothed + _gain(cutoff, seconds)[:, None] * (keypoints - smoothed)
        smoothed = np.asarray(smoothed, dtype=np.float32)
        self._last = timestamp, keypoints, smoothed, velocity
        return smoothed


def _gain(cutoff: Any, seconds: float) -> Any:
    """Weight of the newest value in a first-order low-pass filter (the paper's alpha)."""
    turns = 2 * math.pi * seconds * cutoff
    return turns / (turns + 1)
