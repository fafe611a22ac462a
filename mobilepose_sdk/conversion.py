"""From one keypoint layout to another: which keypoints are the same, which can be derived, which cannot be known.

* The same name is the same joint.
* What LSP and CrowdPose call ``neck`` MPII calls ``upper_neck``, and what CrowdPose calls ``head`` is the others'
  ``head_top``.
* MPII's ``pelvis`` is taken as the middle of the hips, its ``thorax`` as the middle of the shoulders. So is ``neck``
  where the source has none; that lies a little low. A derived keypoint's score is the lower of the two.
* Anything else is unknown: (NaN, NaN) with score 0. From COCO these are the top of the head and MPII's upper neck; to
  COCO they are nose, eyes and ears. NaN is no position at all; it cannot be taken for one by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.skeleton import Skeleton, find_skeleton

Array = NDArray[Any]

_OTHER_NAMES = {"neck": "upper_neck", "upper_neck": "neck", "head": "head_top", "head_top": "head"}
_MIDDLES = {
    "pelvis": ("left_hip", "right_hip"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "neck": ("left_shoulder", "right_shoulder"),
}


@dataclass(frozen=True)
class Conversion:
    """A map from one skeleton's keypoints to another's; get one from :func:`conversion`.

    Attributes:
        source: what is given.
        target: what is wanted.
        parts: for each of the target's keypoints the source's it is the mean of: one where both have it, two where it
            is derived, none where it is unknown.
    """

    source: Skeleton
    target: Skeleton
    parts: tuple[tuple[int, ...], ...]

    @property
    def exact(self) -> tuple[str, ...]:
        """The target's keypoints that the source has."""
        return self._with(1)

    @property
    def derived(self) -> tuple[str, ...]:
        """The target's keypoints that lie in the middle of two of the source's."""
        return self._with(2)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The target's keypoints that the source says nothing about."""
        return self._with(0)

    def __call__(self, keypoints: Array, scores: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Convert poses.

        Args:
            keypoints: (…, K, 2) float, pixels, in the source's order.
            scores: (…, K) float.

        Returns:
            keypoints (…, L, 2) and scores (…, L), float32, in the target's order; NaN and 0 where unknown.

        Raises:
            InvalidInputError: the arrays are not of these shapes.
        """
        keypoints, scores = np.asarray(keypoints, dtype=np.float32), np.asarray(scores, dtype=np.float32)
        k = len(self.source)
        if keypoints.ndim < 2 or keypoints.shape[-2:] != (k, 2) or scores.shape != keypoints.shape[:-1]:
            raise InvalidInputError(
                f"{self.source.name} takes keypoints (…, {k}, 2) and scores (…, {k}), "
                f"got {keypoints.shape} and {scores.shape}"
            )
        converted = np.full((*scores.shape[:-1], len(self.target), 2), np.nan, dtype=np.float32)
        converted_scores = np.zeros(converted.shape[:-1], dtype=np.float32)
        for index, parts in enumerate(self.parts):
            if parts:
                converted[..., index, :] = keypoints[..., parts, :].mean(axis=-2)
                converted_scores[..., index] = scores[..., parts].min(axis=-1)
        return converted, converted_scores

    def _with(self, count: int) -> tuple[str, ...]:
        return tuple(name for name, parts in zip(self.target.names, self.parts) if len(parts) == count)


@lru_cache(maxsize=32)
def conversion(source: str | Skeleton, target: str | Skeleton) -> Conversion:
    """The map between two layouts, each a :class:`Skeleton` or its name.

    Raises:
        InvalidInputError: no skeleton of such a name.

    Example:
        >>> conversion("coco-17", "mpii-16").unknown
        ('upper_neck', 'head_top')
    """
    source, target = find_skeleton(source), find_skeleton(target)
    position = {name: index for index, name in enumerate(source.names)}

    def parts(name: str) -> tuple[int, ...]:
        for known in ((name,), (_OTHER_NAMES.get(name, name),), _MIDDLES.get(name, (name,))):
            if all(part in position for part in known):
                return tuple(position[part] for part in known)
        return ()

    return Conversion(source, target, tuple(parts(name) for name in target.names))
