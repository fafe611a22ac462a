"""Pictures into a video file that plays at the speed they were taken at."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, OutputError
from mobilepose_sdk.opencv import cv2
from mobilepose_sdk.preprocessing import letterbox
from mobilepose_sdk.video_damage import is_cut_short

Array = NDArray[Any]
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What every build of OpenCV can write."""
LONGEST_PAUSE = 10.0
"""Seconds; a longer gap between two pictures is cut to this."""
LARGEST_TIME_BASE = 2**16 - 1


class VideoWriter:
    """A video file under construction; a context manager, and closing it, for whatever reason, leaves it playable.

    Pictures come with their times. Where they come slower than the frame rate, the last one is repeated; none is ever
    left out. A picture of another size than the first is fitted into the first one's.

    Args:
        path: the file; its ending is one of :data:`CODECS`. An existing file is replaced.
        fps: frames a second.

    Raises:
        InvalidInputError: the ending is not accepted.
        OutputError: the name is a folder's. From :meth:`write`: the file cannot be written, or no video of that size
            and rate. From :meth:`close`: the file lacks frames, as it does where the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self._path, self._fps = Path(path), _writable_rate(fps)
        if self._path.suffix.lower() not in CODECS:
            raise InvalidInputError(f"cannot write {str(path)!r}: a video's name ends with one of {', '.join(CODECS)}")
        if os.path.isdir(path):
            raise OutputError(f"cannot write a video to {str(path)!r}: it is a folder; add a file's name")
        self._suffix, self._target = self._path.suffix.lower(), Path(os.path.realpath(path))  # a link stays one
        # OpenCV's writers do not take every name on every system, and go by its ending.
        plain = str(self._target).isascii() and self._target.suffix.lower() == self._suffix
        self._plain = self._target if plain else _stand_in(self._target, self._suffix)
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
            arrived = self._writer.write(shown)
            self._count += 1
            if arrived is False:  # OpenCV 4 says nothing
                raise OutputError(f"cannot write frame {self._count} to {str(self._path)!r}; is the disk full?")
        self._last = picture.copy()

    def _open(self, size: tuple[int, int], timestamp: float) -> None:
        for path in (self._path, self._plain):
            _check_writable(path)
        writer = cv2.VideoWriter(str(self._plain), cv2.VideoWriter.fourcc(*CODECS[self._suffix]), self._fps, size)
        if not writer.isOpened():
            raise OutputError(
                f"cannot write a video of {size[0]}×{size[1]} pixels at {self._fps:g} frames a second to "
                f"{str(self._path)!r}; unless the disk is full, choose another size, rate or ending (.avi takes most)"
            )
        self._writer, self._size, self._first = writer, size, timestamp

    def close(self) -> None:
        """Finish the file; calling it again does nothing. Without a picture there is no file."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        whole = self._is_whole()
        self._move()
        if not whole:
            raise OutputError(f"{str(self._path)!r} lacks some of {self._count} frames; is the disk full?")

    def _is_whole(self) -> bool:
        """Whether the file holds all frames: of a full disk, OpenCV tells at times, by a frame that was not written."""
        capture = cv2.VideoCapture(str(self._plain), cv2.CAP_FFMPEG)
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # 0 or less where nothing can be read
        capture.release()
        return announced >= self._count and not is_cut_short(str(self._plain))

    def _move(self) -> None:
        if self._plain == self._target:
            return
        move = os.replace if self._plain.parent == self._target.parent else shutil.move
        try:
            move(self._plain, self._target)
        except OSError as error:
            raise OutputError(
                f"cannot write {str(self._path)!r}: {error}; the video is kept as {str(self._plain)!r}"
            ) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _writable_rate(fps: float) -> float:
    """The rate with as many decimals as fit into MPEG-4's time base, whose numbers are below 2¹⁶."""
    if not 0 < fps < LARGEST_TIME_BASE:
        return fps
    return round(fps, min(int(math.log10(LARGEST_TIME_BASE / fps)), 4))


def _stand_in(path: Path, suffix: str) -> Path:
    """A name to write to until the file is finished, in the same folder if OpenCV takes that folder's name."""
    folder = path.parent
    try:
        str(folder).encode("ascii" if os.name == "nt" else "utf-8")
    except UnicodeEncodeError:
        folder = Path(tempfile.gettempdir())
    return folder / f"mobilepose-{uuid4().hex}{suffix}"


def _check_writable(path: Path) -> None:
    """Raise what OpenCV does not tell: why a file cannot be written."""
    new = not os.path.lexists(path)
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot write a video to {str(path)!r}: {error}; does its folder exist, and may you write?"
        ) from error
