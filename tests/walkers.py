"""Frames with fake people in them, a detector that finds those, and a camera that plays frames."""

from __future__ import annotations

import threading
from typing import ClassVar

import cv2
import numpy as np
from fakes import paint_person

SIZE = (320, 200)
PERSON = np.array([60.0, 90.0])
"""Width and height of the fake people's boxes."""


def frame(*middles: tuple[float, float], size=SIZE):
    """A picture with a fake person about every point."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for middle in middles:
        paint_person(picture, (*(np.array(middle) - PERSON / 2), *(np.array(middle) + PERSON / 2)))
    return picture


def find(picture):
    """A detector of the fake people: a box about each pair of lights."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((cv2.dilate(picture, np.ones((1, 31)))[..., 0] > 60).astype("u1"))
    middles = np.array([[x + w / 2, y + h / 2] for x, y, w, h, _ in stats[1:]]).reshape(-1, 2)
    return np.concatenate([middles - PERSON / 2, middles + PERSON / 2], axis=1)


class Detector:
    """Finds fake people, and counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return find(picture)


class Camera:
    """In place of ``cv2.VideoCapture``: gives the frames of a script, in which False is a failure and None a stall."""

    script: ClassVar[list] = []
    opened: ClassVar[list[Camera]] = []
    unavailable: ClassVar[int] = 0

    def __init__(self, source, *settings):
        self.source, self.released = source, threading.Event()
        self.stalled = threading.Event()
        self._works = not (Camera.opened and Camera.unavailable)
        Camera.unavailable -= not self._works
        Camera.opened.append(self)

    def isOpened(self):
        return self._works

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def set(self, what, value):
        return True

    def read(self):
        picture = Camera.script.pop(0) if Camera.script else None
        if picture is None:
            self.stalled.set()
            self.released.wait(30)
            return False, None
        return picture is not False, None if picture is False else picture

    def release(self):
        self.released.set()
