"""A picture inside the package, the same bytes for everybody, so that two people's figures can be compared.

``astronaut.jpg``: Eileen Collins, photographed by NASA in 1995; works of NASA are in the public domain. Taken from
scikit-image's ``skimage.data.astronaut``, 512×512, and saved as JPEG.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAME = "astronaut.jpg"
PERSON = (95.0, 15.0, 395.0, 511.0)
"""Box of the person in the sample picture, xyxy."""


def sample_picture() -> bytes:
    """The sample picture: a JPEG of 512×512 pixels with one person."""
    return (Path(__file__).parent / NAME).read_bytes()


def sample_boxes(count: int) -> NDArray[np.float32]:
    """(count, 4) boxes xyxy around the person of the sample picture, each a little different: the same every time."""
    shifts = np.random.default_rng(0).uniform(-12, 12, (count, 4))
    shifts[0] = 0
    return np.asarray(np.array(PERSON) + shifts, dtype=np.float32)
