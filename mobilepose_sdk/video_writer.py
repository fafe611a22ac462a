"""Pictures into a video file that plays at the speed they were taken at."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, OutputError
from mobilepose_sdk.preprocessing import letterbox

Array = NDArray[Any]
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What every build of OpenCV can write."""
LONGEST_PAUSE = 10.0
"""Seconds; a longer gap between two pictures is cut to this."""


class VideoWriter:
    """A video file under construction; a context manager, and closing it, for whatever reason, leaves it playable.

    Pictures come with their times. Where they come slower than the frame rate, the last one is repeated; none is ever
    left out. A picture of another size than the first is fitted into the first one's.

    Args:
        path: the file; its ending is one of :data:`CODECS`. An existing file is replaced.
        fps: frames a second.

    Raises:
        InvalidInputError: the ending is not accepted. From :meth:`write`: OutputError, the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self._path, self._fps = Path(path), fps
        if self._path.suffix.lower() not in CODECS:
            raise InvalidInputError(f"cannot write {str(path)!r}: a video's name ends with one of {', '.join(CODECS)}")
        # OpenCV's writers do not take every name on every system.
        self._plain = self._path if str(self._path).isascii() else None
        self._writer: Any = None
        self._last: Array | None = None
        self._size, self._count, self._first = (0, 0), 0, 0.0

    def write(self, picture: Array, timestamp: float) -> None:
        """Append a (H, W, 3) uint8 BGR picture, taken at ``timestamp`` seconds."""
        if self._writer is None:
            self._open((picture.shape[1], picture.shape[0]), timestamp)
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = letterbox(picture, self._size)[0]
        missing = round((timestamp - self._first) * self._fps) - self._count
        excess = max(missing - round(LONGEST_PAUSE * self._fps), 0)
        self._first += excess / self._fps  # later pictures are as much earlier, too
        for shown in [self._last] * (missing - excess) + [picture]:
            self._writer.write(shown)
            self._count += 1
        self._last = picture.copy()

    def _open(self, size: tuple[int, int], timestamp: float) -> None:
        if self._plain is None:
            self._plain = Path(tempfile.mkdtemp()) / f"video{self._path.suffix.lower()}"
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._plain), codec, self._fps, size)
        if not self._writer.isOpened():
            self._writer = None
            self._tidy()
            raise OutputError(f"cannot write a video to {str(self._path)!r}; does its folder exist, and may you write?")
        self._size, self._first = size, timestamp

    def close(self) -> None:
        """Finish the file; calling it again does nothing. Without a picture there is no file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            try:
                if self._plain is not None and self._plain != self._path:
                    shutil.move(self._plain, self._path)
            except OSError as error:
                raise OutputError(f"cannot write {str(self._path)!r}: {error}") from error
            finally:
                self._tidy()

    def _tidy(self) -> None:
        if self._plain is not None and self._plain != self._path:
            shutil.rmtree(self._plain.parent, ignore_errors=True)
            self._plain = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
