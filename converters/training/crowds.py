"""Whole pictures for bottom-up networks: everybody's keypoints, and where the loss must look away."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.data import read_data, whole_pictures
from converters.training.augmentation import Augmentation, change_colour, jitter_region
from converters.training.mosaic import Tile, draw_grid, tiles
from converters.training.people import Labels, labels_of
from converters.training.pictures import PicturePack
from converters.training.samples import ShuffledSamples
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.preprocessing import apply_affine, as_channels, crop_matrices, crop_regions, warp_crops
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
MOST_PEOPLE = 64
MOST_MASKED = 128
GRIDS = {1: 0.7, 2: 0.2, 3: 0.1}
"""How often a sample is one picture, 2×2 and so on: of all people in samples a third each, since half of the labelled
people fill more than 0.7 of a training picture's height, and of the pictures in which a bottom-up network has to find
them, 0.3. With 0.4, 0.35 and 0.25, H-4 forgot people who fill the picture."""


class Crowd(NamedTuple):
    """One picture: keypoints (P, K, 2) and weights (P, K) of the labelled people, boxes (Q, 4) of the others."""

    image_id: int
    keypoints: Array
    weights: Array
    unlabelled: Array


class Crowds(ShuffledSamples[tuple[Tensor, ...]]):
    """Item: one picture or a mosaic of several (3, H, W), uint8 RGB; keypoints (MOST_PEOPLE, K, 2) float32, input
    pixels; weights (MOST_PEOPLE, K) float32, 0 beyond the people there are; masked boxes (MOST_MASKED, 4) float32, NaN
    beyond.

    Only pictures whose ``all_people_annotated`` is true are used. People who have a box but no keypoints are masked out
    of the heatmap loss, since their keypoints are there and unmarked.
    """

    def __init__(
        self,
        data: Path,
        input_size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        labels: Labels | None = None,
    ) -> None:
        content = read_data(data / "train.json")
        self.crowds = read_crowds(content, labels or {})
        super().__init__(len(self.crowds), seed)
        self.pack = PicturePack(content, data / "images")
        self.input_size, self.augmentation = input_size, augmentation

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        width, height = self.input_size
        canvas = np.zeros((height, width, 3), dtype=np.uint8)
        shown = tiles(self.input_size, draw_grid(GRIDS, rng), index, self.count, rng)
        keypoints, weights, masked = zip(*(self._paste(canvas, tile, i, rng) for tile, i in shown))
        return (
            torch.from_numpy(as_channels(canvas, "rgb").transpose(2, 0, 1).copy()),
            _padded(np.concatenate(keypoints), MOST_PEOPLE, 0.0),
            _padded(np.concatenate(weights), MOST_PEOPLE, 0.0),
            _padded(np.concatenate(masked), MOST_MASKED, np.nan),
        )

    def _paste(self, canvas: Array, tile: Tile, index: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw a changed picture into the tile; returns what is on it of its people: keypoints, weights, masks."""
        left, top, right, bottom = tile
        size, last = (right - left, bottom - top), np.array([right - left - 1, bottom - top - 1])
        crowd = self.crowds[index]
        picture = self.pack[crowd.image_id]
        matrix, flipped = self._placed(picture.shape[1], picture.shape[0], size, rng)
        canvas[top:bottom, left:right] = change_colour(warp_crops(picture, matrix, size)[0], self.augmentation, rng)
        keypoints, weights = crowd.keypoints, crowd.weights
        if flipped:
            keypoints, weights = keypoints[:, COCO_17.flip_indices], weights[:, COCO_17.flip_indices]
        keypoints = apply_affine(np.repeat(matrix, len(keypoints), axis=0), keypoints)
        weights = weights * ((keypoints >= 0) & (keypoints <= last)).all(axis=2)
        corners = crowd.unlabelled[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
        corners = apply_affine(np.repeat(matrix, len(corners), axis=0), corners)
        masked = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        masked = masked[((masked[:, :2] <= last) & (masked[:, 2:] >= 0)).all(axis=1)].clip(0, np.tile(last, 2))
        there = weights.any(axis=1)
        return keypoints[there] + [left, top], weights[there], masked + [left, top, left, top]

    def _placed(self, width: int, height: int, size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, bool]:
        """Affine map (1, 2, 3) of a moved, scaled, turned and perhaps mirrored picture (EfficientHRNet §4.2)."""
        centres, sizes = crop_regions(np.array([[0, 0, width, height]]), size, padding=1.0)
        centre, region, angle = jitter_region(centres[0], sizes[0], self.augmentation, rng)
        matrix = crop_matrices(centre[None], region[None], size, np.array([angle]))
        flipped = bool(rng.random() < 0.5)
        if flipped:
            matrix[:, 0] = -matrix[:, 0]
            matrix[:, 0, 2] += size[0] - 1
        return matrix, flipped


def read_crowds(content: dict[str, Any], cleaned: Labels) -> list[Crowd]:
    """The fully annotated pictures in which somebody has keypoints, cleaned ones where there are any.

    Raises:
        InvalidInputError: there is none.
    """
    people: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in whole_pictures(content)}
    for entry in content["annotations"]:
        if entry["image_id"] in people:
            people[entry["image_id"]].append(entry)
    crowds = []
    for image_id, entries in people.items():
        triples = [labels_of(entry, cleaned) for entry in entries]
        known = np.array(triples, np.float32).reshape(-1, len(COCO_17), 3)
        boxes = np.array([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labelled = known[..., 2].any(axis=1)
        if labelled.any():
            crowds.append(Crowd(image_id, known[labelled, :, :2], known[labelled, :, 2], boxes[~labelled]))
    if not crowds:
        raise InvalidInputError("in no picture in which everybody is annotated has anybody labelled keypoints")
    return crowds


def _padded(values: Array, count: int, fill: float) -> Tensor:
    out = np.full((count, *values.shape[1:]), fill, dtype=np.float32)
    out[: len(values)] = values[:count]
    return torch.from_numpy(out)
