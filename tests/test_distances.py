"""The detector's maps to boxes."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import distance_maps
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.decoding.distances import BINS, CANDIDATES, NMS_IOU, STRIDES, decode_distances
from mobilepose_sdk.errors import InvalidInputError

SIZE = (320, 256)
SMALLER = st.floats(9, 90)  # no distance is negative: the cell in a box's middle must be inside it
ONE = [[100, 60, 180, 220]]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), SMALLER, SMALLER), max_size=6, unique_by=lambda p: p[:2])
)
def test_known_boxes_are_recovered(people):
    boxes = np.array([[64 * i + 3, 60 * j + 5, 64 * i + 3 + w, 60 * j + 5 + h] for i, j, w, h in people]).reshape(-1, 4)
    overlaps = iou_matrix(boxes, boxes) - np.eye(len(boxes))
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.abs(middles[:, None] - middles).max(axis=2) + 1e3 * np.eye(len(boxes)) > STRIDES[-1]
    boxes = boxes[(overlaps <= NMS_IOU - 0.01).all(axis=1) & apart.all(axis=1)]
    scores = np.linspace(0.9, 0.5, len(boxes))
    found, confidence = decode_distances(distance_maps(boxes, scores, SIZE), 0.3)
    np.testing.assert_allclose(found, boxes, atol=1e-3)
    np.testing.assert_allclose(confidence, scores, atol=1e-5)


def test_nobody_is_an_empty_answer():
    boxes, scores = decode_distances(distance_maps([], [], SIZE), 0.3)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_cell_counts_from_its_middle_in_map_pixels(stride):
    maps = distance_maps([], [], SIZE)
    output = maps[STRIDES.index(stride)]
    output[0, 3, 5] = 2.0
    output[1:, 3, 5] = -40.0
    output[[1 + 1, 1 + BINS + 2, 1 + 2 * BINS + 3, 1 + 3 * BINS + 4], 3, 5] = 0.0  # 1, 2, 3 and 4 cells, for certain
    boxes, scores = decode_distances(maps, 0.3)
    np.testing.assert_allclose(boxes, [np.array([5.5 - 1, 3.5 - 2, 5.5 + 3, 3.5 + 4]) * stride], rtol=1e-6)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-2.0)), rtol=1e-6)


def test_an_uncertain_side_is_where_it_is_on_average():
    maps = distance_maps([], [], SIZE)
    maps[0][0, 10, 10] = 2.0  # every distance is as likely as any other: 5 cells on average
    np.testing.assert_allclose(decode_distances(maps, 0.3)[0], [[44, 44, 124, 124]], rtol=1e-6)


def test_the_highest_score_comes_first():
    boxes = np.array([[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]])
    found, scores = decode_distances(distance_maps(boxes, [0.5, 0.9, 0.7], SIZE), 0.3)
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.5], atol=1e-6)
    np.testing.assert_allclose(found, boxes[[1, 2, 0]], atol=1e-3)


def test_scores_below_the_threshold_are_left_out():
    boxes = np.array([[0, 0, 40, 40], [100, 0, 140, 40]])
    assert len(decode_distances(distance_maps(boxes, [0.5, 0.29], SIZE), 0.3)[0]) == 1


def test_a_person_reaching_outside_is_not_clipped():
    box = np.array([[-40, -60, 60, 90]])
    np.testing.assert_allclose(decode_distances(distance_maps(box, [0.8], SIZE), 0.3)[0], box, atol=1e-3)


def test_cells_that_see_the_same_person_are_one_person():
    maps = distance_maps(ONE, [0.9], SIZE)
    level, row, column = next(
        (k, *np.argwhere(output[0] > 0)[0]) for k, output in enumerate(maps) if output[0].max() > 0
    )
    maps[level][:, row, column + 1] = maps[level][:, row, column]
    maps[level][0, row, column + 1] -= 1
    np.testing.assert_allclose(decode_distances(maps, 0.3)[0], ONE, atol=1e-3)


def test_two_detections_of_one_box_are_one_person():
    boxes = np.array([[100, 60, 180, 220], [118, 60, 198, 220]])
    found, _ = decode_distances(distance_maps(boxes, [0.8, 0.9], SIZE), 0.3)
    assert iou_matrix(boxes[:1], boxes[1:])[0, 0] > NMS_IOU
    np.testing.assert_allclose(found, boxes[1:], atol=1e-3)


def test_of_too_many_candidates_the_best_are_kept():
    corners = np.array([(16 * i, 16 * j) for i in range(20) for j in range(15)])
    boxes = np.concatenate([corners, corners + 12], axis=1)
    scores = np.random.default_rng(0).permutation(np.linspace(0.4, 0.9, len(boxes)))
    found, confidence = decode_distances(distance_maps(boxes, scores, SIZE), 0.3)
    best = np.argsort(-scores)[:CANDIDATES]
    np.testing.assert_allclose(found, boxes[best], atol=1e-3)
    np.testing.assert_allclose(confidence, scores[best], atol=1e-5)


@pytest.mark.parametrize("value", [-1e30, -1e4, 0.0, 1e4, 1e30])
def test_extreme_outputs_give_finite_answers(value):
    maps = [np.full_like(output, value) for output in distance_maps([], [], SIZE)]
    boxes, scores = decode_distances(maps, 0.3)
    assert np.isfinite(scores).all()
    assert np.isfinite(boxes).all()
    assert len(boxes) <= CANDIDATES


@pytest.mark.parametrize("maps", [[], distance_maps([], [], SIZE)[:1], [np.zeros((5, 40, 40), np.float32)] * 3])
def test_another_kind_of_detectors_outputs_are_refused(maps):
    with pytest.raises(InvalidInputError, match="3 outputs of 45 channels"):
        decode_distances(maps, 0.3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1, 4 * BINS])
@pytest.mark.parametrize("level", range(len(STRIDES)))
def test_a_broken_networks_output_is_refused_rather_than_taken_for_nobody(value, channel, level):
    maps = distance_maps(ONE, [0.9], SIZE)
    maps[level][channel, 3, 3] = value
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        decode_distances(maps, 0.3)
