"""A photograph that moves, and what a reader gives of a video."""

from __future__ import annotations

from pathlib import Path

import cv2

from mobilepose_sdk.sources import read_picture
from mobilepose_sdk.video import open_source

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"
SIZE = (160, 120)
STEP = 3
"""Pixels that the photograph moves from frame to frame."""


def moving_photograph(frames=20):
    """A window that moves to the right over a photograph, in even steps."""
    photograph = cv2.resize(read_picture(PHOTOGRAPH), (512, 512))
    return [photograph[100 : 100 + SIZE[1], STEP * i : STEP * i + SIZE[0]].copy() for i in range(frames)]


def frames_of(source, **options):
    reader = open_source(source, **options)
    found = list(iter(reader.read, None))
    reader.close()
    return found
