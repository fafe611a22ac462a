"""Who is who from frame to frame.

Every track guesses where its person will be, from where they were and how fast they moved. Poses found in the next
frame are paired with these guesses so that the sum of their similarities, the mean of OKS and box IoU, is greatest. OKS
tells people apart whose boxes overlap; IoU still holds where somebody moves too fast for OKS.

* Birth: a pose that fits no track begins one if its score reaches ``birth_score``, unless it may be a resting person's.
* Rest: a track without a pose is not reported, but keeps its number for ``patience`` seconds, moving on meanwhile.
* Crowds: where poses overlap, one is often of both people, or of what shows of the one behind. There a pose must
  fit its track well, and be about as large and as sure as that person's usually are; else they are hidden, and rest.
* Death: after that; and at once for a track of fewer than ``trusted_after`` sightings, which was likely no person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.assignment import assign
from mobilepose_sdk.boxes import box_areas, iou_matrix
from mobilepose_sdk.decoding.nms import oks_matrix
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.options import number, whole_number
from mobilepose_sdk.pipelines.people import CONFIDENT
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.smoothing import OneEuro, Smoothing
from mobilepose_sdk.track import Sighting, Track, moved, overlap

Array = NDArray[Any]
FEWEST_KEYPOINTS = 4
"""Confident keypoints that a pose needs to be taken for a person at all."""
CROWDED = 0.4
"""Share of the smaller of two boxes that the other covers, from which on their people are in a crowd."""
MAYBE_SIMILARITY = 0.05
"""A pose as similar as this to where somebody out of sight should be begins no track: it may be a part of them."""
CROWD_SIMILARITY = 0.5
"""What a pose in a crowd needs, in place of ``min_similarity``."""


@dataclass(frozen=True)
class Tracking:
    """How people are followed.

    Attributes:
        birth_score: a person's score, 0 to 1, from which on a new one is believed.
        keep_score: and from which on a known one is.
        min_similarity: mean of OKS and IoU, 0 to 1, below which a pose is not a track's person.
        trusted_after: sightings after which a track survives being out of sight.
        patience: seconds that it does.

    Raises:
        InvalidInputError: a value is out of range.
    """

    birth_score: float = 0.2
    keep_score: float = 0.1
    min_similarity: float = 0.15
    trusted_after: int = 3
    patience: float = 1.0

    def __post_init__(self) -> None:
        for name in ("birth_score", "keep_score", "min_similarity"):
            number(name, getattr(self, name), most=1.0)
        number("patience", self.patience)
        whole_number("trusted_after", self.trusted_after)


DEFAULT_TRACKING = Tracking()


class Tracker:
    """Gives people numbers that stay theirs, and smooths their keypoints.

    Args:
        tracking: rules of birth, similarity and death.
        smoothing: how keypoints are smoothed; None leaves them as they are.

    Example:
        >>> tracker = Tracker()
        >>> result = tracker.update(estimator(frame), timestamp)  # doctest: +SKIP
        >>> result.track_ids  # doctest: +SKIP
        array([0, 1])
    """

    def __init__(self, tracking: Tracking = DEFAULT_TRACKING, smoothing: Smoothing | None = None) -> None:
        self._rules, self._smoothing = tracking, smoothing
        self._tracks: list[Track] = []
        self._born, self._before, self._now = 0, -math.inf, -math.inf

    @property
    def searching(self) -> bool:
        """Whether nobody is known, or somebody who is was not in the last frame."""
        return not self._tracks or any(track.seen < self._now for track in self._tracks)

    def boxes(self, timestamp: float) -> NDArray[np.float32]:
        """(N, 4) xyxy: where the people of the last frame will be at a time, oldest track first."""
        seen = [track for track in self._tracks if track.seen == self._now]
        return np.array([moved(track.crop, track.shift(timestamp)) for track in seen], np.float32).reshape(-1, 4)

    def update(self, result: PoseResult, timestamp: float, boxes: Array | None = None) -> PoseResult:
        """Recognise the people of the next frame.

        Args:
            result: everybody in it, in any order.
            timestamp: of the frame, seconds, later than that of the one before.
            boxes: (N, 4) xyxy, the people's own, where those of the result are only where they were looked for.

        Returns:
            those who are tracked, the oldest track first, with ``track_ids``, and smoothed keypoints and boxes.

        Raises:
            InvalidInputError: the timestamp is not a number, or not later than the last.
        """
        if not (math.isfinite(timestamp) and timestamp > self._now):
            raise InvalidInputError(f"timestamps must rise: got {timestamp!r} after {self._now!r}")
        self._before, self._now = self._now, timestamp
        confident = np.add.reduce(result.keypoint_scores > CONFIDENT, axis=1)
        believed = np.flatnonzero((result.scores >= self._rules.keep_score) & (confident >= FEWEST_KEYPOINTS))
        boxes = result.boxes if boxes is None else boxes
        people = [
            Sighting(result.keypoints[i], result.keypoint_scores[i], boxes[i], float(result.scores[i]), timestamp)
            for i in believed.tolist()
        ]
        owners = self._owners(people, result)
        for person, track in owners.items():
            track.see(people[person])
        self._tracks = [track for track in self._tracks if self._lives(track)]
        return _report(result, {int(believed[person]): track for person, track in owners.items()})

    def _owners(self, people: list[Sighting], result: PoseResult) -> dict[int, Track]:
        """The track of each person, by their place in the list; those who have none and begin none are left out."""
        if len(people) == 1 and len(self._tracks) == 1 and self._is_obvious(people[0], self._tracks[0]):
            return {0: self._tracks[0]}
        for person, crowded in zip(people, _shares(people, people).max(axis=1, initial=0) >= CROWDED):
            person.crowded = bool(crowded)
        similarity = self._similarity(people, result)
        owners = self._matched(similarity, people)
        free = np.array([track not in owners.values() for track in self._tracks], dtype=bool)
        for place, person in enumerate(people):
            hidden = (similarity[free, place] >= MAYBE_SIMILARITY).any()
            if place not in owners and not hidden and person.score >= self._rules.birth_score:
                owners[place] = self._begin()
        return owners

    def _is_obvious(self, person: Sighting, track: Track) -> bool:
        """Whether nobody else is about, and the boxes alone make them similar enough, whatever the keypoints say."""
        guess = moved(track.box, track.shift(self._now))
        return track.seen == self._before and overlap(guess, person.box) / 2 >= self._rules.min_similarity

    def _matched(self, similarity: Array, people: list[Sighting]) -> dict[int, Track]:
        """By column of the similarities (tracks, people), its track; people who fit none are left out."""
        if not similarity.size:
            return {}
        tracks = self._tracks
        crowded = np.array([person.crowded for person in people]) | self._covered(people)
        resting = np.array([[track.seen < self._before] for track in tracks])
        odd = np.array([[track.is_unlike(person) for person in people] for track in tracks])
        unfit = (odd & (crowded | resting)) | ((similarity < CROWD_SIMILARITY) & crowded & ~resting)
        similarity = np.where(unfit, 0, similarity)
        pairs = [pair for pair in zip(*assign(-similarity)) if similarity[pair] >= self._rules.min_similarity]
        return {int(column): tracks[row] for row, column in pairs}

    def _covered(self, people: list[Sighting]) -> NDArray[np.bool_]:
        """(tracks, people) whether somebody else covers where the track should be."""
        shares = _shares([track.guess(self._now) for track in self._tracks], people)
        others = np.where(np.eye(len(people), dtype=bool), 0, shares[:, None, :])
        return np.asarray(others.max(axis=2) >= CROWDED)

    def _similarity(self, people: list[Sighting], result: PoseResult) -> Array:
        """(tracks, people) mean of OKS and IoU between where tracks should be now and people."""
        n = len(self._tracks)
        if not (n and people):
            return np.zeros((n, len(people)))
        guesses = [track.guess(self._now) for track in self._tracks]
        keypoints = np.array([one.keypoints for one in (*guesses, *people)])
        scores = np.array([one.keypoint_scores for one in (*guesses, *people)])
        boxes = np.array([one.box for one in (*guesses, *people)])
        oks = oks_matrix(keypoints, scores, box_areas(boxes), sigmas=result.skeleton.sigmas)[:n, n:]
        return np.asarray((oks + iou_matrix(boxes[:n], boxes[n:])) / 2)

    def _begin(self) -> Track:
        track = Track(self._born, None if self._smoothing is None else OneEuro(self._smoothing))
        self._born += 1
        self._tracks.append(track)
        return track

    def _lives(self, track: Track) -> bool:
        if track.seen == self._now:
            return True
        return track.sightings >= self._rules.trusted_after and self._now - track.seen <= self._rules.patience


def _shares(first: list[Sighting], second: list[Sighting]) -> Array:
    """(N, M) share of the smaller of two people's boxes that the other covers; 0 of a person with themselves."""
    boxes = np.array([one.box for one in first]).reshape(-1, 4), np.array([one.box for one in second]).reshape(-1, 4)
    areas = box_areas(boxes[0])[:, None], box_areas(boxes[1])
    iou = iou_matrix(*boxes)
    shares = iou * (areas[0] + areas[1]) / (1 + iou) / np.maximum(np.minimum(*areas), 1e-6)
    same = np.array([[one is other for other in second] for one in first], dtype=bool).reshape(shares.shape)
    return np.asarray(np.where(same, 0, shares))


def _report(result: PoseResult, owners: dict[int, Track]) -> PoseResult:
    """The people of a result who have a track, the oldest track first."""
    people = sorted(owners, key=lambda person: owners[person].number)
    tracks = [owners[person] for person in people]
    k = len(result.skeleton)
    return PoseResult(
        keypoints=np.array([track.smoothed for track in tracks], np.float32).reshape(-1, k, 2),
        keypoint_scores=result.keypoint_scores[people].reshape(-1, k),
        boxes=np.array([track.smoothed_box for track in tracks], np.float32).reshape(-1, 4),
        scores=result.scores[people],
        image_size=result.image_size,
        skeleton=result.skeleton,
        track_ids=np.array([track.number for track in tracks], dtype=np.int64),
    )
