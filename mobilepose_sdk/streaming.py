"""A source's frames in, their poses out, one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import StateError
from mobilepose_sdk.frames import FrameReader
from mobilepose_sdk.results import PoseResult

Array = NDArray[Any]
FPS_FRAMES = 30
"""How many results the measured frame rate is over."""


class PoseStream:
    """The poses of a source's frames, as an iterator; what :meth:`PoseEstimator.stream` returns.

    What belongs to the newest result stands beside it:

    Attributes:
        index: number of the frame; numbers are missing where a live source's frames were dropped.
        timestamp: seconds since the first frame.
        latency: seconds from the arrival of the frame to its result.
        source_fps: frames a second that the source announces.
        total: frames of the source, as announced; None where that is not known.
        live: whether the source is a camera or a network stream.

    Leaving a ``for`` loop, by whatever way, lets go of the camera or file; so do :meth:`close` and ``with``.

    Example:
        >>> stream = estimator.stream(0)  # doctest: +SKIP
        >>> for result in stream:  # doctest: +SKIP
        ...     cv2.imshow("poses", result.plot(stream.frame))
    """

    def __init__(self, reader: FrameReader, estimate: Callable[[Array, float], PoseResult]) -> None:
        self._reader, self._estimate = reader, estimate
        self._finished: deque[float] = deque(maxlen=FPS_FRAMES + 1)
        self._frame: NDArray[np.uint8] | None = None
        self.index, self.timestamp, self.latency = -1, 0.0, 0.0
        self.source_fps, self.total, self.live = reader.fps, reader.total, reader.live

    @property
    def frame(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, BGR: the picture of the newest result.

        Raises:
            StateError: there is no result yet.
        """
        if self._frame is None:
            raise StateError("there is no frame yet: take a result from the stream first")
        return self._frame

    @property
    def dropped(self) -> int:
        """Frames of a live source that came while an earlier one was worked on, and were left out."""
        return self._reader.dropped

    @property
    def fps(self) -> float:
        """Results a second, over the last :data:`FPS_FRAMES`; 0 before the second."""
        if len(self._finished) < 2:
            return 0.0
        return (len(self._finished) - 1) / max(self._finished[-1] - self._finished[0], 1e-9)

    def __next__(self) -> PoseResult:
        """The next frame's people.

        Raises:
            SourceLostError: a camera or network stream stopped giving frames.
            SourceReadError: a picture or video cannot be read, or is cut short; earlier results stand.
        """
        try:
            frame = self._reader.read()
            if frame is None:
                raise StopIteration
            result = self._estimate(frame.image, frame.timestamp)
        except BaseException:
            self.close()
            raise
        self._frame, self.index, self.timestamp = frame.image, frame.index, frame.timestamp
        now = time.perf_counter()
        self.latency = now - frame.arrived
        self._finished.append(now)
        return result

    def __iter__(self) -> Iterator[PoseResult]:
        # A generator, unlike an iterator, is told when its loop is left.
        try:
            while True:
                try:
                    yield next(self)
                except StopIteration:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the source; calling it again does nothing."""
        self._reader.close()

    def __enter__(self) -> PoseStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
