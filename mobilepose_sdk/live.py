"""Cameras and network streams: a thread reads them, and keeps the newest frame only."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from mobilepose_sdk.errors import SourceLostError, SourceNotFoundError, SourceReadError
from mobilepose_sdk.frames import Frame, frame_rate
from mobilepose_sdk.opencv import cv2

ATTEMPTS = 3
"""How often a source that stopped giving frames is opened again before it counts as lost."""
PAUSE = 1.0
"""Seconds before each of them."""
LONGEST_JOIN = 2.0
"""Seconds that closing waits for a driver that hangs."""
_LARGEST_INT = 2**31 - 1
"""What OpenCV counts to."""


def open_capture(source: int | str, timeout: float = 10.0) -> Any:
    """An opened ``cv2.VideoCapture``.

    Args:
        source: a camera's index, a path or an address.
        timeout: seconds that an address may take to answer.

    Raises:
        SourceNotFoundError: no such camera, or nothing answers at the address.
        SourceReadError: the file is no video that OpenCV can read.
    """
    if isinstance(source, int):
        capture = cv2.VideoCapture(min(source, _LARGEST_INT))
    elif not _is_text(source):
        raise SourceReadError(f"OpenCV cannot open {_name(source)}: the name is not UTF-8; rename it")
    elif "://" in source:
        limit = int(min(max(timeout * 1000, 1), _LARGEST_INT))  # 0 would be for ever
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    else:
        # Any other reader would take a file's name for the pattern of a picture sequence.
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
    if capture.isOpened():
        return capture
    capture.release()
    if isinstance(source, int):
        raise SourceNotFoundError(f"no {_name(source)}, or another program is using it; the first camera is 0")
    if "://" in source:
        raise SourceNotFoundError(f"nothing to be seen at {_name(source)} within {timeout:g} s")
    raise SourceReadError(
        f"{source!r} is no video that OpenCV can read; it may be cut short, or its format or codec is not supported"
    )


def _is_text(name: str) -> bool:
    """False for the names of files, which are bytes, where they stand for no characters: OpenCV crashes on them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(source: int | str) -> str:
    """A source as it may be shown: addresses of cameras often hold a password."""
    if isinstance(source, int):
        return f"camera {source}"
    if "://" not in source:
        return repr(source)
    scheme, _, rest = source.partition("://")
    place, slash, path = rest.partition("/")
    return repr(f"{scheme}://{place.rpartition('@')[2]}{slash}{path}")


class LiveReader:
    """The newest frame of a camera or network stream; frames that come while nobody waits are dropped and counted.

    Times are when frames arrived: what a camera says of itself cannot be relied on.

    Args:
        source: a camera's index or an address.
        timeout: seconds without a new frame after which the source is lost, whatever the reason. One that fails
            outright is opened again :data:`ATTEMPTS` times first.
        opened: the capture, if it is open already.

    Raises:
        SourceNotFoundError: no such camera or address. From :meth:`read`: SourceLostError, the source was lost.
    """

    live = True
    total: int | None = None

    def __init__(self, source: int | str, *, timeout: float, opened: Any = None) -> None:
        capture = open_capture(source, timeout) if opened is None else opened
        self.fps = frame_rate(capture)
        self._name = _name(source)
        self._timeout, self._newest = min(timeout, threading.TIMEOUT_MAX), _Newest()
        self._thread = threading.Thread(
            target=_keep_reading, args=(source, capture, timeout, self._newest), name="mobilepose-capture", daemon=True
        )
        # The thread knows the mailbox, not the reader: a reader that is forgotten ends it.
        self._stop = weakref.finalize(self, self._newest.stop)
        self._thread.start()

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    def read(self) -> Frame | None:
        if not self._stop.alive:
            return None
        try:
            frame = self._newest.take(self._timeout)
            if frame is None and self._newest.stopped.is_set():
                return None
        except BaseException:
            self.close()
            raise
        if frame is None:
            self.close()
            raise SourceLostError(f"{self._name} has given no frame for {self._timeout:g} s; is it still connected?")
        return frame

    def close(self) -> None:
        self._stop()
        # A driver that hangs must not hang the program: the thread lets go of the camera as soon as it can.
        self._thread.join(timeout=LONGEST_JOIN)


class _Newest:
    """A mailbox for one frame."""

    def __init__(self) -> None:
        self.stopped, self.dropped = threading.Event(), 0
        self._frame: Frame | None = None
        self._error: SourceLostError | None = None
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def fail(self, error: SourceLostError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> Frame | None:
        """Wait for a frame that nobody had yet; None when none came in time, or when it was stopped."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._frame is not None or self._error is not None or self.stopped.is_set(), timeout
            )
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def stop(self) -> None:
        self.stopped.set()
        with self._changed:
            self._changed.notify()


def _keep_reading(source: int | str, capture: Any, timeout: float, newest: _Newest) -> None:
    """What the thread does until it is stopped or the source is lost."""
    index, failures, first = 0, 0, 0.0
    try:
        while not newest.stopped.is_set():
            found, image = (False, None) if capture is None else capture.read()
            now = time.perf_counter()
            if found and image is not None:
                first = now if index == 0 else first
                newest.put(Frame(image, index, now - first, now))
                index, failures = index + 1, 0
                continue
            if capture is not None:
                capture.release()
                capture = None
            if failures == ATTEMPTS:
                newest.fail(SourceLostError(f"{_name(source)} went away: it was opened again {ATTEMPTS} times in vain"))
                return
            failures += 1
            if not newest.stopped.wait(PAUSE):
                capture = _opened_again(source, timeout)
    finally:
        if capture is not None:
            capture.release()


def _opened_again(source: int | str, timeout: float) -> Any:
    try:
        return open_capture(source, timeout)
    except (SourceNotFoundError, SourceReadError):
        return None
