"""What a bottom-up network is shown: one picture or several, everybody's keypoints, and where the loss looks away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from converters.training.augmentation import Augmentation
from converters.training.crowds import GRIDS, Crowds
from converters.training.mosaic import tiles
from converters.training.recipes.bottom_up import visible

PLAIN = Augmentation(colour=0, blur_share=0)
"""Geometry alone."""
WHOLE = Augmentation(colour=0, blur_share=0, rotation_share=0, scale=0, aspect=1, shift=0)
"""Whole pictures, mirrored at most."""
SIZE = (384, 320)
DOT = 100
"""The drawn people's keypoints are brighter, wherever they lie between pixels; nothing else is."""


@contextmanager
def annotations(folder: Path) -> Iterator[dict]:
    """What is annotated for training; changes to it are kept."""
    file = folder / "train.json"
    content = json.loads(file.read_text())
    yield content
    file.write_text(json.dumps(content))


def box_alone(image_id: int, box: list[int]) -> dict:
    """Somebody of whom no keypoint is known."""
    known = {"category_id": 1, "area": 400, "iscrowd": 0, "num_keypoints": 0, "keypoints": [0] * 51}
    return {"id": 100 + image_id, "image_id": image_id, "bbox": box, **known}


def labelled(sample) -> np.ndarray:
    _, keypoints, weights, _ = sample
    return keypoints[weights > 0].numpy()


def people(sample) -> int:
    return int((sample[2] > 0).any(dim=1).sum())


def test_a_sample_shows_one_person_or_many(folder: Path) -> None:
    crowds = Crowds(folder, SIZE, WHOLE, seed=0)
    counts = [people(crowds[draw]) for draw in range(60)]
    assert set(counts) == {grid**2 for grid in GRIDS}  # one on each picture


def test_keypoints_lie_on_what_they_name(folder: Path) -> None:
    crowds = Crowds(folder, SIZE, PLAIN, seed=0)
    for draw in range(40):
        sample = crowds[draw]
        points = labelled(sample)
        assert ((points >= 0) & (points <= np.array(SIZE) - 1)).all()
        x, y = points.round().astype(int).T
        assert (sample[0].numpy()[0, y, x] > DOT).all()


def test_the_mirrored_persons_left_is_right(folder: Path) -> None:
    """Everybody has the left shoulder on the picture's left: mirrored, it is the other shoulder's place."""
    with annotations(folder) as content:
        for entry in content["annotations"]:
            keypoints = np.reshape(entry["keypoints"], (17, 3))
            keypoints[5], keypoints[6] = (40, 80, 2), (120, 80, 2)
            entry["keypoints"] = keypoints.ravel().tolist()
    crowds = Crowds(folder, SIZE, WHOLE, seed=0)
    for draw in range(20):
        _, keypoints, weights, _ = crowds[draw]
        there = weights[:, 5] > 0
        assert (keypoints[there, 5, 0] < keypoints[there, 6, 0]).all()


def test_whoever_has_a_box_alone_is_masked(folder: Path) -> None:
    """In the corner of every picture, blue."""
    with annotations(folder) as content:
        for image in content["images"]:
            path = str(folder / "images" / image["file_name"])
            picture = cv2.imread(path)
            picture[2:18, 2:18] = (255, 0, 0)
            cv2.imwrite(path, picture)
            content["annotations"].append(box_alone(image["id"], [0, 0, 20, 20]))
    crowds = Crowds(folder, SIZE, WHOLE, seed=0)
    for draw in range(20):
        sample = crowds[draw]
        picture, masked = sample[0].numpy(), sample[3]
        assert (~masked[:, 0].isnan()).sum() == people(sample)
        seen = visible(masked[None], SIZE, 1)[0].numpy() > 0
        blue = (picture[2] > 200) & (picture[1] < 30)
        assert blue.any() and not (blue & seen).any()


def test_a_mask_beyond_the_picture_is_dropped(folder: Path) -> None:
    with annotations(folder) as content:
        content["annotations"] += [box_alone(image["id"], [900, 0, 20, 20]) for image in content["images"]]
    crowds = Crowds(folder, SIZE, PLAIN, seed=0)
    for draw in range(20):
        assert crowds[draw][3].isnan().all()


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_tiles_cover_the_picture_once(grid: int) -> None:
    for seed in range(20):
        covered = np.zeros((90, 120), int)
        shown = tiles((120, 90), grid, 5, 8, np.random.default_rng(seed))
        for (left, top, right, bottom), picture in shown:
            assert 0 <= picture < 8
            assert right - left > 0.5 * 120 / grid and bottom - top > 0.5 * 90 / grid
            covered[top:bottom, left:right] += 1
        assert len(shown) == grid**2 and shown[0][1] == 5
        assert (covered == 1).all()
