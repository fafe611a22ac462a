"""Keypoint layouts: names, limbs, left/right pairs and OKS sigmas.

COCO and CrowdPose publish their sigmas with their evaluation. MPII and LSP, which are measured by PCK, have none:
theirs are COCO's of the same joint. COCO has no pelvis, neck, thorax and top of the head. The pelvis takes the hips'
sigma, the others the shoulders', as CrowdPose has it for its head and neck.

The same joint has the same name in all, but for ``neck`` and ``head``; :mod:`mobilepose_sdk.conversion` goes from one
to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError


@dataclass(frozen=True)
class Skeleton:
    """A keypoint layout.

    Attributes:
        name: how model cards refer to it.
        names: keypoint names, in order.
        limbs: pairs of keypoint indices to connect when drawing.
        sigmas: per-keypoint OKS standard deviations.
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

_SIGMA = {
    "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089,
    "pelvis": 0.107, "thorax": 0.079, "neck": 0.079, "head": 0.079, "top": 0.079,
}  # fmt: skip
"""By the last word of a keypoint's name: COCO's, and CrowdPose's for what COCO does not have."""


def _body(name: str, names: tuple[str, ...], limbs: tuple[tuple[int, int], ...]) -> Skeleton:
    return Skeleton(name, names, limbs, tuple(_SIGMA[keypoint.rpartition("_")[2]] for keypoint in names))


CROWDPOSE_14 = _body(
    "crowdpose-14",
    (
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
        "head",
        "neck",
    ),
    (
        (10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 2), (1, 3), (2, 4), (3, 5),
        (13, 0), (13, 1), (12, 13),
    ),
)  # fmt: skip

LSP_14 = _body(
    "lsp-14",
    (
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    (
        (0, 1), (1, 2), (5, 4), (4, 3), (2, 3), (8, 2), (9, 3), (8, 7), (7, 6), (9, 10), (10, 11),
        (12, 8), (12, 9), (13, 12),
    ),
)  # fmt: skip

MPII_16 = _body(
    "mpii-16",
    (
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
        "thorax",
        "upper_neck",
        "head_top",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ),
    (
        (0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 12), (12, 11), (11, 10), (7, 13), (13, 14),
        (14, 15), (7, 8), (8, 9),
    ),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO_17, CROWDPOSE_14, LSP_14, MPII_16)}
"""Every layout that a model card may name."""


def find_skeleton(skeleton: str | Skeleton) -> Skeleton:
    """A layout by its name; a :class:`Skeleton` is passed through.

    Raises:
        InvalidInputError: there is none of that name.
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if skeleton not in SKELETONS:
        raise InvalidInputError(f"no skeleton {skeleton!r}; known: {', '.join(SKELETONS)}")
    return SKELETONS[skeleton]
