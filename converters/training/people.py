"""One sample is one person: a crop, where the keypoints lie on its heatmaps, and how far each label is trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from converters.data import read_data
from converters.training.augmentation import (
    Augmentation,
    beside,
    change_colour,
    half_body_box,
    jitter_region,
    picture_end,
    turned,
)
from converters.training.occlusion import put_before, silhouette
from converters.training.pictures import PicturePack
from converters.training.samples import ShuffledSamples
from mobilepose_sdk.coco_files import read_json
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.preprocessing import apply_affine, crop_matrices, crop_regions, warp_crops
from mobilepose_sdk.skeleton import COCO_17

STRIDE = 4
MIDDLE_PADDING = 1.15
"""How much boxes are grown in training, on average: between what suits exact boxes, 1.05, and found ones, 1.25."""

Labels = dict[int, NDArray[np.float32]]
"""Keypoints and their weights, (K, 3), by annotation id."""


class Person(NamedTuple):
    id: int
    image_id: int
    source: str | None
    box: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    weights: NDArray[np.float32]


def people_of(
    content: dict[str, Any], source: str | None = None, fewest: int = 4, labels: Labels | None = None
) -> list[Person]:
    """People with at least ``fewest`` labelled keypoints, of what :func:`converters.data.read_data` returns.

    Somebody's labels are those in ``labels`` (:func:`read_labels`), else the file's, with ``keypoint_weights`` where
    there are such, or 1 where ``v > 0``.

    Raises:
        InvalidInputError: there is nobody.
    """
    sources = {image["id"]: image["source"] for image in content["images"]}
    people = []
    for entry in content["annotations"]:
        found_in = sources[entry["image_id"]]
        if entry["iscrowd"] or (source and found_in != source):
            continue
        triples = labels_of(entry, labels or {})
        if (triples[:, 2] > 0).sum() >= fewest:
            x, y, w, h = entry["bbox"]
            box = np.array([x, y, x + w, y + h], dtype=np.float32)
            people.append(Person(entry["id"], entry["image_id"], found_in, box, triples[:, :2], triples[:, 2]))
    if not people:
        raise InvalidInputError(f"the data holds nobody of whom {fewest} keypoints or more are labelled")
    return people


def labels_of(entry: dict[str, Any], cleaned: Labels) -> NDArray[np.float32]:
    """An annotation's keypoints, cleaned or as it has them: (K, 3) x, y and weight, all 0 for somebody who has none."""
    if entry["id"] in cleaned:
        return cleaned[entry["id"]]
    triples = np.array(entry["keypoints"], dtype=np.float32).reshape(-1, 3)
    triples[:, 2] = entry.get("keypoint_weights", triples[:, 2] > 0)
    return triples


def read_labels(path: Path | None) -> Labels:
    """The labels that ``python -m converters clean`` wrote; none without a file.

    Raises:
        SourceNotFoundError: there is no such file.
        InvalidInputError: it is not one of those.
    """
    if path is None:
        return {}
    entries = read_json(path, "file of labels")
    try:
        labels = {int(key): np.array(triples, dtype=np.float32) for key, triples in entries.items()}
    except (AttributeError, TypeError, ValueError):
        labels = {}
    if not labels or any(triples.shape != (len(COCO_17), 3) for triples in labels.values()):
        raise InvalidInputError(f"{path} is not a file that `python -m converters clean` wrote")
    return labels


class PoseSamples(ShuffledSamples[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Augmented crops of people.

    Item: crop (3, H, W) uint8 BGR, heatmap coordinates (K, 2) float32, weights (K,) float32.

    Args:
        repeats: how often a person is shown in an epoch; once when omitted.
    """

    def __init__(
        self,
        annotation_file: Path,
        pictures: Path,
        input_size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        labels: Labels | None = None,
        repeats: Callable[[Person], int] = lambda person: 1,
    ) -> None:
        content = read_data(annotation_file)
        people = people_of(content, labels=labels)
        self.people = [person for person in people for _ in range(repeats(person))]
        super().__init__(len(self.people), seed)
        self.pack = PicturePack(content, pictures)
        self.input_size = input_size
        self.augmentation = augmentation

    def sample(self, index: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        crop, xy, weights = self.augmented(self.people[index], rng)
        return torch.from_numpy(crop.transpose(2, 0, 1).copy()), torch.from_numpy(xy), torch.from_numpy(weights)

    def augmented(
        self, person: Person, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Crop (H, W, 3), heatmap coordinates (K, 2) and weights (K,) of one person."""
        box = person.box
        if rng.random() < self.augmentation.half_body_share:
            half = half_body_box(person.keypoints, person.weights > 0, rng)
            box = box if half is None else half
        edges = None
        if rng.random() < self.augmentation.cut_share:
            edges = picture_end(box, person.keypoints, person.weights > 0, rng)
        if edges is not None:
            box = np.concatenate([np.maximum(box[:2], edges[:2]), np.minimum(box[2:], edges[2:])])
        crop, xy, weights = self._cut(person, *self._region(box, rng), rng, edges)
        if rng.random() < self.augmentation.other_person_share:
            other = self.people[rng.integers(len(self.people))]
            centre, size, angle = self._region(other.box, rng)
            cover, points, labels = self._cut(other, *beside(centre, size, rng), angle, rng)
            crop = put_before(crop, xy[weights > 0], cover, silhouette(points, labels > 0, self.input_size))
        inside = ((xy >= 0) & (xy <= np.array(self.input_size) - 1)).all(axis=1)
        return change_colour(crop, self.augmentation, rng), (xy / STRIDE).astype(np.float32), weights * inside

    def _region(self, box: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], float]:
        turn = rng.uniform(-np.pi, np.pi) if rng.random() < self.augmentation.turn_share else 0.0
        centres, sizes = crop_regions(turned(box, turn)[None], self.input_size, MIDDLE_PADDING)
        centre, size, angle = jitter_region(centres[0], sizes[0], self.augmentation, rng)
        return centre, size, angle + turn

    def _cut(
        self,
        person: Person,
        centre: NDArray[Any],
        size: NDArray[Any],
        angle: float,
        rng: np.random.Generator,
        edges: NDArray[Any] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Crop (H, W, 3), keypoints (K, 2) in its pixels and weights (K,); mirrored half of the time.

        ``edges`` (4,) xyxy are where the picture ends, if not at its own edges.
        """
        matrix = crop_matrices(centre[None], size[None], self.input_size, np.array([angle]))
        xy, weights, picture = person.keypoints, person.weights, self.pack[person.image_id]
        shown = np.zeros(2, dtype=int)  # the first pixel of the picture that is shown
        if edges is not None:
            weights = weights * ((xy >= edges[:2]) & (xy <= edges[2:])).all(axis=1)
            limits = np.clip(edges, 0, np.tile(picture.shape[1::-1], 2)).round().astype(int)
            if (limits[2:] > limits[:2]).all():  # some people reach beyond their picture: it may end before all of it
                shown, picture = limits[:2], picture[limits[1] : limits[3], limits[0] : limits[2]]
        if rng.random() < 0.5:
            matrix[:, 0] = -matrix[:, 0]
            matrix[:, 0, 2] += self.input_size[0] - 1
            xy, weights = xy[COCO_17.flip_indices], weights[COCO_17.flip_indices]
        moved = matrix.copy()
        moved[0, :, 2] += matrix[0, :, :2] @ shown
        crop = warp_crops(picture, moved, self.input_size)[0]
        return crop, apply_affine(matrix, xy[None])[0], weights
