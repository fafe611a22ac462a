"""What a webcam sees of one person who sways a little; the frames of several benchmarks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.samples import sample_picture
from mobilepose_sdk.sources import read_picture

FRAMES = 12
"""Few enough for the processor's caches, where a frame that was just captured is too."""


def swaying() -> list[NDArray[Any]]:
    """640×480 frames, (H, W, 3) uint8 BGR, of the sample picture's person; after the last comes the first."""
    picture = read_picture(sample_picture())
    frames = []
    for angle in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
        scale = 480 / 512 * (1 + 0.02 * np.sin(angle))
        matrix = np.array([[scale, 0, 80 + 12 * np.sin(angle)], [0, scale, 3 * np.cos(angle)]])
        frames.append(cv2.warpAffine(picture, matrix, (640, 480)))
    return frames
