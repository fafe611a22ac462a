"""Whole pictures for the person detector: one picture, or four in a mosaic, with everybody's box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.training.augmentation import Augmentation, change_colour
from converters.training.pictures import PicturePack
from converters.training.samples import ShuffledSamples

Array = NDArray[Any]
MOST_PEOPLE = 48
MOSAIC_SHARE = 0.6
VISIBLE = 0.3
"""A person is kept when at least this share of the box lies on the tile."""


class Scenes(ShuffledSamples[tuple[Tensor, ...]]):
    """Item: picture (3, H, W) uint8 BGR and boxes (MOST_PEOPLE, 4) float32 xyxy, input pixels, padded with NaN.

    Only pictures whose ``all_people_annotated`` is true are used: elsewhere an unmarked person would count as background.
    """

    def __init__(self, data: Path, input_size: tuple[int, int], augmentation: Augmentation, seed: int) -> None:
        annotations = json.loads((data / "train.json").read_text(encoding="utf-8"))
        self.ids = [image["id"] for image in annotations["images"] if image["all_people_annotated"]]
        super().__init__(len(self.ids), seed)
        boxes: dict[int, list[Array]] = {image_id: [] for image_id in self.ids}
        for entry in annotations["annotations"]:
            if entry["image_id"] in boxes:
                x, y, w, h = entry["bbox"]
                boxes[entry["image_id"]].append(np.array([x, y, x + w, y + h]))
        self.boxes = {key: np.reshape(value, (-1, 4)).astype(np.float32) for key, value in boxes.items()}
        self.pack = PicturePack(annotations, data / "images")
        self.input_size, self.augmentation = input_size, augmentation

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        width, height = self.input_size
        canvas = np.zeros((height, width, 3), dtype=np.uint8)
        if rng.random() < MOSAIC_SHARE:
            x, y = (int(side * rng.uniform(0.3, 0.7)) for side in self.input_size)
            tiles = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
            others = rng.integers(0, self.count, 3)
            boxes = [self._paste(canvas, tile, int(i), rng, 1.0) for tile, i in zip(tiles, [index, *others])]
        else:
            boxes = [self._paste(canvas, (0, 0, width, height), index, rng, 0.45)]
        kept = np.concatenate(boxes)[:MOST_PEOPLE]
        padded = np.full((MOST_PEOPLE, 4), np.nan, dtype=np.float32)
        padded[: len(kept)] = kept
        return torch.from_numpy(canvas.transpose(2, 0, 1).copy()), torch.from_numpy(padded)

    def _paste(
        self, canvas: Array, tile: tuple[int, int, int, int], index: int, rng: np.random.Generator, smallest: float
    ) -> Array:
        """Draw a moved, scaled, stretched, perhaps mirrored picture into the tile; returns its people's boxes."""
        left, top, right, bottom = tile
        picture, boxes = self.pack[self.ids[index]], self.boxes[self.ids[index]]
        height, width = picture.shape[:2]
        fit = min((right - left) / width, (bottom - top) / height)
        scale = fit * smallest * (1.6 / smallest) ** rng.random()
        stretch = self.augmentation.aspect ** rng.uniform(-0.5, 0.5)
        sx, sy = scale * stretch, scale / stretch
        slack = np.array([right - left - width * sx, bottom - top - height * sy])
        offset = slack * rng.random(2)
        if rng.random() < 0.5:
            matrix = np.array([[-sx, 0, offset[0] + sx * (width - 1)], [0, sy, offset[1]]])
            boxes = boxes[:, [2, 1, 0, 3]]
        else:
            matrix = np.array([[sx, 0, offset[0]], [0, sy, offset[1]]])
        warped = cv2.warpAffine(picture, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        canvas[top:bottom, left:right] = change_colour(warped, self.augmentation, rng)
        boxes = boxes * matrix[[0, 1, 0, 1], [0, 1, 0, 1]] + matrix[[0, 1, 0, 1], 2]
        clipped = np.clip(boxes, 0, np.array([right - left, bottom - top] * 2))
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) > VISIBLE * area
        return (clipped + [left, top, left, top])[visible & (clipped[:, 3] - clipped[:, 1] > 4)]
