"""What the person detector is shown, and what its maps are to say."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import distance_maps

from converters.training.augmentation import Augmentation
from converters.training.detection import DetectionTask, giou, levels_of, map_boxes, overlap, owners, quality_focal_loss
from converters.training.scenes import Scenes, _empty_window


def test_scenes_hold_one_or_many_people_all_within_the_picture(folder: Path) -> None:
    scenes = Scenes(folder, (96, 64), Augmentation(), seed=0)
    counts = []
    for draw in range(60):
        picture, boxes = scenes[draw]
        people = boxes[~boxes[:, 0].isnan()].numpy()
        assert picture.shape == (3, 64, 96)
        assert (people[:, :2] >= 0).all()
        assert (people[:, 2:] <= (96, 64)).all()
        assert (people[:, 2:] > people[:, :2]).all()
        counts.append(len(people))
    assert min(counts) <= 1
    assert max(counts) > 4


def test_boxes_lie_on_the_people(folder: Path) -> None:
    """Everybody is white, nothing else is: what a box covers is the white pixels, whatever was done to the picture."""
    for image in (folder / "images").iterdir():
        picture = np.zeros((160, 160, 3), np.uint8)
        picture[25:135, 25:135] = 255
        cv2.imwrite(str(image), picture)
    errors = []
    scenes = Scenes(folder, (384, 384), Augmentation(colour=0, tint_share=0, blur_share=0), seed=0)
    for draw in range(60):
        picture, boxes = scenes[draw]
        for left, top, right, bottom in boxes[~boxes[:, 0].isnan()].numpy():
            x1, y1, x2, y2 = (round(float(edge)) for edge in (left - 8, top - 8, right + 8, bottom + 8))
            white = picture[0, max(y1, 0) : y2, max(x1, 0) : x2].numpy() / 255
            if x1 < 0 or y1 < 0 or x2 > 384 or y2 > 384 or white[[0, -1]].any() or white[:, [0, -1]].any():
                continue  # cut off by a tile's border, or too close to somebody else
            columns, rows = white.mean(axis=0) / white.mean(axis=0).max(), white.mean(axis=1) / white.mean(axis=1).max()
            middle = [(side * (np.arange(len(side)) + 0.5)).sum() / side.sum() for side in (columns, rows)]
            errors.append([(left + right) / 2 - x1 - middle[0], (top + bottom) / 2 - y1 - middle[1]])
            errors.append([right - left - columns.sum(), bottom - top - rows.sum()])
    assert len(errors) > 100
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.05)
    np.testing.assert_allclose(errors, 0, atol=0.5)


def test_an_empty_window_shows_nobody() -> None:
    boxes = np.array([[40.0, 10.0, 60.0, 90.0]])
    for seed in range(20):
        window = _empty_window((100, 100), boxes, np.random.default_rng(seed))
        assert window is not None
        columns = range(100)[window[1]]
        assert columns[-1] < 40 or columns[0] >= 60
    assert _empty_window((100, 100), np.array([[5.0, 5.0, 95.0, 95.0]]), np.random.default_rng(0)) is None


def test_each_person_is_one_maps_to_find() -> None:
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 40.0, 160.0], [0.0, 0.0, 300.0, 300.0], [math.nan] * 4])
    assert levels_of(boxes).tolist() == [0, 1, 2, 0]


def test_cells_near_a_persons_middle_learn_the_smallest_there() -> None:
    boxes = torch.tensor([[[4.0, 4.0, 58.0, 58.0], [20.0, 20.0, 44.0, 44.0], [math.nan] * 4]])
    fine, coarse = owners(boxes, 0, (12, 10)), owners(boxes, 1, (6, 5))
    assert fine.shape == (1, 10, 12)
    assert sorted(set(fine.flatten().tolist())) == [-1, 0, 1]
    assert fine[0, 3:5, 3:5].tolist() == [[1, 1], [1, 1]]
    assert fine[0, 0, 0] == -1
    assert coarse.max() == -1


def test_the_score_is_to_be_the_overlap() -> None:
    quality = torch.tensor([0.0, 0.4, 0.9])
    right = torch.logit(quality, eps=1e-4)
    assert quality_focal_loss(right, quality) < 1e-3 < quality_focal_loss(right + 2, quality)
    wanted = 0.25**2 * -math.log(0.75)  # eq. 5 with y = 0, sigma = 0.25
    assert quality_focal_loss(torch.logit(torch.tensor([0.25])), torch.zeros(1)) == pytest.approx(wanted)


def test_giou_of_equal_boxes_is_one_and_of_distant_ones_negative() -> None:
    box = torch.tensor([0.0, 0.0, 4.0, 4.0])
    assert giou(box, box) == pytest.approx(1)
    assert giou(box, box + 100) < -0.9
    assert giou(box, torch.tensor([2.0, 0.0, 6.0, 4.0])) == pytest.approx(1 / 3)


def test_overlap_is_the_shared_part() -> None:
    assert overlap(torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([2.0, 0.0, 6.0, 4.0])) == pytest.approx(1 / 3)


TWO = np.array([[10.0, 20.0, 60.0, 70.0], [100.0, 40.0, 250.0, 230.0]])


def test_torch_and_the_sdk_read_the_same_boxes_from_a_map() -> None:
    maps = distance_maps(TWO, np.array([0.9, 0.8]), (320, 256))
    read = [map_boxes(torch.from_numpy(output)[None], level)[0].numpy() for level, output in enumerate(maps)]
    found = np.concatenate([boxes[output[0] > 0] for output, boxes in zip(maps, read)])
    np.testing.assert_allclose(found, TWO, atol=1e-3)


def test_the_detectors_loss_is_least_for_the_truth() -> None:
    task, truth = DetectionTask(Path("nowhere")), (torch.from_numpy(TWO).float()[None],)

    def loss(found: np.ndarray) -> float:
        maps = distance_maps(found, np.array([0.98, 0.98]), (320, 256))
        outputs = tuple(torch.from_numpy(output)[None] for output in maps)
        return float(task.loss(outputs, torch.zeros(1, 3, 256, 320), truth))

    assert loss(TWO) < loss(TWO + 8)
    assert loss(TWO) < loss(TWO * 0.8)
