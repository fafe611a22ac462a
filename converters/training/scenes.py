"""Whole pictures for the person detector: one picture or a mosaic of several, with everybody's box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.data import read_data, whole_pictures
from converters.training.augmentation import Augmentation, change_colour
from converters.training.mosaic import Tile, draw_grid, tiles
from converters.training.pictures import PicturePack
from converters.training.samples import ShuffledSamples
from mobilepose_sdk.preprocessing import warp_crops

Array = NDArray[Any]
MOST_PEOPLE = 64
GRIDS = {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}
"""How often a scene is one picture, 2×2 and so on: most training people fill half their picture, users' do not."""
SMALLEST = {1: 0.4, 2: 0.7, 3: 1.0, 4: 1.0}
LARGEST = 1.6
"""Scales of a picture, relative to what fits its tile."""
EMPTY_SHARE = 0.25
"""Tiles that show only background, since nearly every training picture has somebody in its middle."""
VISIBLE = 0.3
"""A person is kept when at least this share of the box lies on the tile."""


class Scenes(ShuffledSamples[tuple[Tensor, ...]]):
    """Item: picture (3, H, W) uint8 BGR and boxes (MOST_PEOPLE, 4) float32 xyxy, input pixels, padded with NaN.

    Only pictures whose ``all_people_annotated`` is true are used: elsewhere unmarked people would count as background.
    """

    def __init__(self, data: Path, input_size: tuple[int, int], augmentation: Augmentation, seed: int) -> None:
        content = read_data(data / "train.json")
        self.ids = [image["id"] for image in whole_pictures(content)]
        super().__init__(len(self.ids), seed)
        boxes: dict[int, list[Array]] = {image_id: [] for image_id in self.ids}
        for entry in content["annotations"]:
            if entry["image_id"] in boxes:
                x, y, w, h = entry["bbox"]
                boxes[entry["image_id"]].append(np.array([x, y, x + w, y + h]))
        self.boxes = {key: np.reshape(value, (-1, 4)).astype(np.float32) for key, value in boxes.items()}
        self.pack = PicturePack(content, data / "images")
        self.input_size, self.augmentation = input_size, augmentation

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        width, height = self.input_size
        canvas = np.zeros((height, width, 3), dtype=np.uint8)
        grid = draw_grid(GRIDS, rng)
        shown = tiles(self.input_size, grid, index, self.count, rng)
        boxes = [self._paste(canvas, tile, i, rng, SMALLEST[grid]) for tile, i in shown]
        kept = np.concatenate(boxes)[:MOST_PEOPLE]
        padded = np.full((MOST_PEOPLE, 4), np.nan, dtype=np.float32)
        padded[: len(kept)] = kept
        return torch.from_numpy(canvas.transpose(2, 0, 1).copy()), torch.from_numpy(padded)

    def _paste(self, canvas: Array, tile: Tile, index: int, rng: np.random.Generator, smallest: float) -> Array:
        """Draw a moved, scaled, stretched, perhaps mirrored picture into the tile; returns its people's boxes."""
        left, top, right, bottom = tile
        picture, boxes = self.pack[self.ids[index]], self.boxes[self.ids[index]]
        height, width = picture.shape[:2]
        window = _empty_window((width, height), boxes, rng) if rng.random() < EMPTY_SHARE else None
        if window is not None:
            size = (right - left, bottom - top)
            canvas[top:bottom, left:right] = cv2.resize(picture[window], size, interpolation=cv2.INTER_AREA)
            return np.zeros((0, 4), dtype=np.float32)
        fit = min((right - left) / width, (bottom - top) / height)
        scale = fit * smallest * (LARGEST / smallest) ** rng.random()
        stretch = self.augmentation.aspect ** rng.uniform(-0.5, 0.5)
        sx, sy = scale * stretch, scale / stretch
        slack = np.array([right - left - width * sx, bottom - top - height * sy])
        x, y = slack * rng.random(2)
        if rng.random() < 0.5:
            sx, x = -sx, x + sx * width
            boxes = boxes[:, [2, 1, 0, 3]]
        boxes = boxes * [sx, sy, sx, sy] + [x, y, x, y]
        # Boxes are edges of pixels; the matrix is of their centres.
        matrix = np.array([[[sx, 0, x + (sx - 1) / 2], [0, sy, y + (sy - 1) / 2]]])
        shown = warp_crops(picture, matrix, (right - left, bottom - top))[0]
        canvas[top:bottom, left:right] = change_colour(shown, self.augmentation, rng)
        clipped = np.clip(boxes, 0, np.array([right - left, bottom - top] * 2))
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) > VISIBLE * area
        kept = clipped[visible & (clipped[:, 3] - clipped[:, 1] > 4)]
        return np.asarray(kept + [left, top, left, top])


def _empty_window(size: tuple[int, int], boxes: Array, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """Rows and columns of a part of the picture beside, above or below everybody; None where all parts are slim."""
    width, height = size
    if len(boxes):
        left, top = np.floor(boxes[:, :2].min(axis=0)).astype(int).clip(0)
        right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int)
    else:
        left, top, right, bottom = width, height, width, height
    parts = [(0, 0, left, height), (right, 0, width, height), (0, 0, width, top), (0, bottom, width, height)]
    wide = [(x1, y1, x2, y2) for x1, y1, x2, y2 in parts if x2 - x1 > 0.25 * width and y2 - y1 > 0.25 * height]
    if not wide:
        return None
    x1, y1, x2, y2 = wide[rng.integers(len(wide))]
    return slice(y1, y2), slice(x1, x2)
