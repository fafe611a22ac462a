"""From a video, a camera, a folder or any iterable to frames, one after the other, each with its time."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from mobilepose_sdk.errors import InvalidInputError, InvalidTypeError, SourceNotFoundError, SourceReadError
from mobilepose_sdk.frames import UNKNOWN_FPS, Frame, FrameReader, frame_rate
from mobilepose_sdk.live import LiveReader, open_capture
from mobilepose_sdk.opencv import cv2
from mobilepose_sdk.options import number
from mobilepose_sdk.sources import PICTURE_SUFFIXES, ColorOrder, PictureSource, expand_inputs, read_picture
from mobilepose_sdk.video_damage import is_cut_short

VideoSource: TypeAlias = int | str | os.PathLike[str] | Iterable[PictureSource]
"""A camera's index, a video file, a stream's address, a folder of frames, one picture, or an iterable of pictures."""
TEXT_SUFFIXES = frozenset(".ans .art .asc .diz .ice .nfo .txt .vt".split())
"""Files that FFmpeg would show as scrolling text."""
ANIMATION_SUFFIXES = frozenset([".apng", ".webp"])
"""Pictures that may be clips, which OpenCV reads without their transparency, or the first frame of alone."""
FRAMES_TIMED = 50
"""Of an animation, before the first is given."""
SHORTEST = 10
"""Milliseconds of an animation's frame; who writes less means as fast as can be."""
_ACCEPTED = "accepted: a camera index, a video file, an RTSP address, a folder of frames, an iterable of pictures"


def open_source(
    source: VideoSource, *, color: ColorOrder = "bgr", fps: float = UNKNOWN_FPS, timeout: float = 10.0
) -> FrameReader:
    """Open anything that frames come from.

    Args:
        source: see :data:`VideoSource`. Pictures of a folder come in the order of the numbers in their names.
        color: channel order of *arrays* in an iterable.
        fps: frames a second of a folder or an iterable, which do not say it themselves.
        timeout: seconds without a new frame after which a live source counts as lost.

    Raises:
        SourceNotFoundError: no such file, folder, camera or address.
        SourceReadError: a file that is empty, damaged or no video.
        InvalidTypeError, InvalidInputError: nothing that frames could come from, or an option out of range.
    """
    fps, timeout = number("fps", fps, inside=True), number("timeout", timeout, inside=True)
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        if source < 0:
            raise InvalidInputError(f"a camera's index is 0 or more, got {source}")
        return LiveReader(int(source), timeout=timeout)
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return _open_address(path, timeout) if "://" in path else _open_path(path, fps)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, memoryview)):
        if isinstance(source, np.ndarray) and source.ndim < 4:
            raise InvalidTypeError("a stream takes several pictures, got one array; pass [picture]")
        total = len(source) if isinstance(source, Sized) else None
        return PictureReader(source, total, color=color, fps=fps)
    raise InvalidTypeError(f"cannot stream from {type(source).__name__}; {_ACCEPTED}")


def _open_address(address: str, timeout: float) -> FrameReader:
    """A live stream, or a video that a server offers as a file."""
    capture = open_capture(address, timeout)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoReader(address, capture)
    return LiveReader(address, timeout=timeout, opened=capture)


def _open_path(path: str, fps: float) -> FrameReader:
    if os.path.isdir(path):
        found, problems = expand_inputs([path])
        if problems:
            raise problems[0]
        in_order: list[Path] = sorted(found, key=_by_number)
        return PictureReader(in_order, len(found), fps=fps)
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise SourceNotFoundError(f"no such video: {path!r}; the working directory is {os.getcwd()!r}") from None
    except (OSError, ValueError) as error:
        raise SourceReadError(f"cannot open {path!r}: {error}") from error
    if empty:
        raise SourceReadError(f"{path!r} is empty")
    suffix = Path(path).suffix.lower()
    if suffix in TEXT_SUFFIXES:
        raise SourceReadError(f"{path!r} is no video but text")
    if suffix in ANIMATION_SUFFIXES and (animation := _open_animation(path)) is not None:
        return AnimationReader(animation, path)
    # A GIF is more often a clip than a picture.
    if suffix in PICTURE_SUFFIXES - {".gif"}:
        return PictureReader([path], 1, fps=fps)
    return VideoReader(path)


def _open_animation(path: str) -> Any:
    """A Pillow picture; None where the file is a still one, or cannot be read: that is said when its turn comes."""
    try:
        image = Image.open(path)
        if getattr(image, "is_animated", False):
            image.load()
            return image
        image.close()
    except Exception:  # Pillow's parsers raise whatever they stumbled over.
        pass
    return None


def _by_number(path: Path) -> list[Any]:
    """Sorts ``frame-2`` before ``frame-10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


class PictureReader:
    """Frames from pictures, read when their turn comes; their times follow from the frame rate."""

    live, dropped = False, 0

    def __init__(
        self, pictures: Iterable[PictureSource], total: int | None, *, color: ColorOrder = "bgr", fps: float
    ) -> None:
        self._pictures: Iterator[PictureSource] = iter(pictures)
        self._color, self._count = color, itertools.count()
        self.fps, self.total = fps, total

    def read(self) -> Frame | None:
        for picture in self._pictures:
            image, index = read_picture(picture, color=self._color), next(self._count)
            return Frame(image, index, self._timestamp(index), time.perf_counter())
        return None

    def _timestamp(self, index: int) -> float:
        return index / self.fps

    def close(self) -> None:
        self._pictures = iter(())


class AnimationReader(PictureReader):
    """Frames of an animated picture, with the times that the file gives them.

    Args:
        image: a Pillow picture of several frames, the first of them loaded.
        name: how errors call it.
    """

    def __init__(self, image: Any, name: str) -> None:
        self._image, self._name, self._next = image, name, 0.0
        self._busy = threading.RLock()
        # An APNG may begin with a picture for programs that know no animations.
        frames = range(bool(image.info.get("default_image")), image.n_frames)
        super().__init__(self._frames(frames), len(frames), fps=_animation_rate(image, frames))

    def read(self) -> Frame | None:
        with self._busy:
            return super().read()

    def _frames(self, frames: range) -> Iterator[Image.Image]:
        for index in frames:
            try:
                self._image.seek(index)
                self._image.load()
            except Exception as error:  # Pillow's decoders raise whatever they stumbled over.
                raise SourceReadError(f"{self._name!r} is damaged or truncated in frame {index}: {error}") from error
            yield self._image

    def _timestamp(self, index: int) -> float:
        now = self._next
        self._next += self._image.info.get("duration", 0) / 1000 or 1 / self.fps
        return now

    def close(self) -> None:
        with self._busy:
            super().close()
            self._image.close()


def _animation_rate(image: Any, frames: range) -> float:
    """Frames a second at which no frame would be left out: that of the shortest of the first frames.

    They need not be equally long, and what they are is known when they are decoded.
    """
    shown = []
    with suppress(Exception):  # a frame that is damaged is said when its turn comes
        for index in frames[:FRAMES_TIMED]:
            image.seek(index)
            image.load()
            shown.append(image.info.get("duration", 0))
    return 1000 / max(min((time for time in shown if time > 0), default=1000 / UNKNOWN_FPS), SHORTEST)


class VideoReader:
    """Frames of a video file, every one of them, upright, with the times that the file gives them.

    Args:
        name: a path, or the address of a file.
        opened: the capture, if it is open already.

    Raises:
        SourceReadError: not a video that OpenCV can read. From :meth:`read`: the file holds no frame, or ends in the
            middle (every frame before that was given).
    """

    live, dropped = False, 0

    def __init__(self, name: str, opened: Any = None) -> None:
        self._name, self._capture = name, open_capture(name) if opened is None else opened
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # phones store turned videos
        self.fps = frame_rate(self._capture)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if count > 0 else None
        self._index, self._first, self._last = 0, 0.0, 0.0
        self._busy = threading.RLock()  # a capture that is released while it reads ends the process

    def read(self) -> Frame | None:
        with self._busy:
            return self._read()

    def _read(self) -> Frame | None:
        if self._capture is None:
            return None
        arrived = time.perf_counter()
        found, image = self._capture.read()
        if not found:
            self.close()
            if self._index == 0:
                raise SourceReadError(f"{self._name!r} holds no frame that can be read")
            if is_cut_short(self._name):
                raise SourceReadError(
                    f"{self._name!r} is cut short: it ends after {self._index} of {self.total or '?'} frames"
                )
            return None
        frame = Frame(image, self._index, self._timestamp(), arrived)
        self._index, self._last = self._index + 1, frame.timestamp
        return frame

    def _timestamp(self) -> float:
        """Seconds since the first frame, always rising: damaged files repeat a time or jump back."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._index == 0:
            self._first = seconds
            return 0.0
        since_first = seconds - self._first
        return since_first if since_first > self._last else self._last + 1 / self.fps

    def close(self) -> None:
        with self._busy:
            if self._capture is not None:
                self._capture.release()
                self._capture = None
