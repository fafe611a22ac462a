"""What every source of a stream gives: frames, through a reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.opencv import cv2

UNKNOWN_FPS = 30.0
"""Frames a second of sources that do not say."""
TOO_FAST = 1000.0
"""Sources that claim so many frames a second or more do not say either: it is the clock of WebM files that a browser
recorded, which OpenCV reports in the place of their rate."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: 0, 1, …; numbers are missing where a live source's frames were dropped.
        timestamp: seconds since the first frame.
        arrived: when it was read, seconds of ``time.perf_counter``.
    """

    image: NDArray[np.uint8]
    index: int
    timestamp: float
    arrived: float


class FrameReader(Protocol):
    """An opened source.

    Attributes:
        fps: frames a second, as announced.
        total: number of frames, as announced; None where it is not known.
        live: whether frames that nobody waits for are dropped.
        dropped: how many were.
    """

    fps: float
    total: int | None
    live: bool

    @property
    def dropped(self) -> int: ...

    def read(self) -> Frame | None:
        """The next frame; None at the end, and ever after."""

    def close(self) -> None:
        """Let go of the camera or file; calling it again does nothing."""


def frame_rate(capture: Any) -> float:
    """Frames a second of an opened ``cv2.VideoCapture``; a guess where it does not know."""
    announced = float(capture.get(cv2.CAP_PROP_FPS))
    return announced if 0 < announced < TOO_FAST else UNKNOWN_FPS
