"""What both pipelines end with: the people of one picture, each once, scored, as a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import box_areas
from mobilepose_sdk.decoding.nms import Method, oks_nms
from mobilepose_sdk.errors import ModelFileError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import SKELETONS, Skeleton

Array = NDArray[Any]
CONFIDENT = 0.1
"""Keypoints at or below this do not count in a person's score (MobilePoseNet, Algorithm 1)."""
DUPLICATE_OKS = 0.7
"""Two detections whose poses agree this much are one person."""


class Pipeline(Protocol):
    """A model with all that stands around it. May be called from several threads at once."""

    def __call__(self, images: list[Array], boxes: list[Array | None], *, exact: bool = True) -> list[PoseResult]:
        """People in (H, W, 3) uint8 BGR pictures: in the given boxes (N, 4), or, for None, all there are, best first.

        Given boxes are ``exact``, unless it is said that they are a guess, such as where people were a frame ago.

        Raises:
            InvalidInputError: boxes that are none, or given where the pipeline takes none.
        """

    @property
    def find_boxes(self) -> Callable[[Array], Array] | None:
        """Finds people's boxes (N, 4) in a picture, for poses to be found in; None where there is no such step."""

    def close(self) -> None:
        """Free the models' memory; calling it again does nothing."""


@dataclass(frozen=True)
class People:
    """N people of one picture.

    Attributes:
        boxes: (N, 4) xyxy, pixels.
        scores: (N,) of the boxes; see :func:`person_scores`.
        keypoints: (N, K, 2), pixels.
        keypoint_scores: (N, K).
    """

    boxes: Array
    scores: Array
    keypoints: Array
    keypoint_scores: Array

    def __getitem__(self, index: Array) -> People:
        return People(self.boxes[index], self.scores[index], self.keypoints[index], self.keypoint_scores[index])

    def merged(self, method: Method | None, skeleton: Skeleton) -> People:
        """Everybody once, highest score first; without a method nobody is merged."""
        people = self
        if method is not None and len(self.boxes) > 1:
            kept, scores = oks_nms(
                self.keypoints,
                self.keypoint_scores,
                self.scores,
                box_areas(self.boxes),
                method=method,
                threshold=DUPLICATE_OKS,
                sigmas=skeleton.sigmas,
            )
            people = People(self.boxes[kept], scores, self.keypoints[kept], self.keypoint_scores[kept])
        return people[np.argsort(-person_scores(people.keypoint_scores, people.scores), kind="stable")]

    def result(self, image: Array, skeleton: Skeleton) -> PoseResult:
        """As the people of a picture (H, W, 3)."""
        return PoseResult(
            keypoints=self.keypoints,
            keypoint_scores=self.keypoint_scores,
            boxes=self.boxes,
            scores=person_scores(self.keypoint_scores, self.scores),
            image_size=(image.shape[1], image.shape[0]),
            skeleton=skeleton,
        )


def person_scores(keypoint_scores: Array, box_scores: Array) -> NDArray[np.float32]:
    """(N,) box score times the mean score of the confident keypoints (MobilePoseNet eq. 6); 0 where none is."""
    confident = keypoint_scores > CONFIDENT
    total = np.add.reduce(np.where(confident, keypoint_scores, 0), axis=1)
    return np.asarray(total / np.maximum(np.add.reduce(confident, axis=1), 1) * box_scores, dtype=np.float32)


def card_skeleton(card: ModelCard) -> Skeleton:
    """The keypoint layout a pose card names.

    Raises:
        ModelFileError: there is none of that name.
    """
    if card.skeleton not in SKELETONS:
        raise ModelFileError(
            f"the card of {card.name} names the skeleton {card.skeleton!r}; known: {', '.join(SKELETONS)}"
        )
    return SKELETONS[card.skeleton]
