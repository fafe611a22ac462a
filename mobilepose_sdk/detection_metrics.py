"""How well people are found: precision and recall of boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import iou_matrix

Array = NDArray[Any]
FOUND_IOU = 0.5
"""Somebody is found by a box that agrees with theirs at least so much."""


@dataclass(frozen=True)
class DetectionCurve:
    """Precision and recall over all thresholds.

    Attributes:
        scores: (D,) thresholds, highest first.
        precision: (D,) share of the boxes at or above the threshold that are people.
        recall: (D,) share of the people who are found at or above it.
        average_precision: area under the interpolated curve.
    """

    scores: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    average_precision: float

    def at(self, threshold: float) -> tuple[float, float]:
        """(precision, recall) of the boxes that score at least ``threshold``; (1, 0) where there are none."""
        kept = int((self.scores >= threshold).sum())
        return (1.0, 0.0) if kept == 0 else (float(self.precision[kept - 1]), float(self.recall[kept - 1]))

    def best_threshold(self) -> float:
        """The threshold of the highest F1."""
        f1 = 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-9)
        return float(self.scores[f1.argmax()]) if len(f1) else 1.0

    def threshold_for(self, precision: float) -> float:
        """The lowest threshold at which at least this share of the boxes are people; without one, the best F1's."""
        reached = np.flatnonzero(self.precision >= precision)
        return float(self.scores[reached[-1]]) if len(reached) else self.best_threshold()


@dataclass(frozen=True)
class PicturePeople:
    """One picture's truth and answer.

    Attributes:
        people: (P, 4) xyxy that should be found.
        ignored: (Q, 4) xyxy that may be found or not: crowds, people too small to count.
        boxes: (D, 4) xyxy that were found.
        scores: (D,).
    """

    people: Array
    ignored: Array
    boxes: Array
    scores: Array


def detection_curve(pictures: list[PicturePeople]) -> DetectionCurve:
    """Greedy matching by score within each picture, then one curve over all pictures.

    A box that matches nobody but lies at least half within an ignored region counts neither way.
    """
    scores, hits = [], []
    for picture in pictures:
        kept, correct = _match(picture)
        scores.append(kept)
        hits.append(correct)
    all_scores, all_hits = np.concatenate([[], *scores]), np.concatenate([[], *hits]).astype(bool)
    order = np.argsort(-all_scores, kind="stable")
    found = np.cumsum(all_hits[order])
    precision = found / np.arange(1, len(found) + 1)
    recall = found / max(sum(len(picture.people) for picture in pictures), 1)
    best_to_come = np.maximum.accumulate(precision[::-1])[::-1]
    average = float(np.sum(np.diff(recall, prepend=0.0) * best_to_come))
    return DetectionCurve(all_scores[order], precision, recall, average)


def _match(picture: PicturePeople) -> tuple[Array, Array]:
    """Scores and correctness of the boxes that count."""
    order = np.argsort(-picture.scores, kind="stable")
    boxes = picture.boxes[order]
    overlaps = iou_matrix(boxes, picture.people)
    correct = np.zeros(len(order), dtype=bool)
    for row, overlap in enumerate(overlaps):
        if overlap.size and overlap.max() >= FOUND_IOU:
            correct[row] = True
            overlaps[:, overlap.argmax()] = 0
    excused = _share_inside(boxes, picture.ignored).max(axis=1, initial=0.0) >= 0.5
    counted = correct | ~excused
    return picture.scores[order][counted], correct[counted]


def _share_inside(boxes: Array, regions: Array) -> Array:
    """(D, Q) share of each box's area inside each region."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    area = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=2) / area[:, None])


def split_people(annotations: list[dict[str, Any]], height: float, smallest: float) -> tuple[Array, Array]:
    """People of one COCO picture who count, (P, 4), and regions that do not, (Q, 4), both xyxy.

    Crowds, and people lower than ``smallest`` times the picture's height, do not count.
    """
    counted, ignored = [np.zeros((0, 4))], [np.zeros((0, 4))]
    for entry in annotations:
        x, y, w, h = entry["bbox"]
        small = h <= smallest * height
        (ignored if small or entry.get("iscrowd") else counted).append(np.array([[x, y, x + w, y + h]]))
    return np.concatenate(counted), np.concatenate(ignored)
