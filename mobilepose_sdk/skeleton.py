"""Keypoint layouts: names, limbs, left/right pairs and OKS sigmas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Skeleton:
    """A keypoint layout.

    Attributes:
        name: how model cards refer to it.
        names: keypoint names, in order.
        limbs: pairs of keypoint indices to connect when drawing.
        sigmas: per-keypoint OKS standard deviations (COCO).
    """

    name: str
    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def flip_indices(self) -> NDArray[np.intp]:
        """(K,) index of each keypoint's mirror image: ``left_*`` and ``right_*`` swapped, others kept."""
        swap = {"left": "right", "right": "left"}
        position = {name: index for index, name in enumerate(self.names)}
        mirrored = []
        for name in self.names:
            side, _, part = name.partition("_")
            mirrored.append(position[f"{swap[side]}_{part}"] if side in swap else position[name])
        return np.array(mirrored, dtype=np.intp)


COCO_17 = Skeleton(
    name="coco-17",
    names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
        0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO_17,)}
