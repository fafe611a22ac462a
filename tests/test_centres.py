"""Centre maps to boxes."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import centre_map
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.decoding.centres import CANDIDATES, NMS_IOU, decode_centres
from mobilepose_sdk.errors import InvalidInputError

STRIDE = 8
MAP = (40, 30)
SMALLER = st.floats(6, 90)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), SMALLER, SMALLER), max_size=6, unique_by=lambda p: p[:2])
)
def test_known_boxes_are_recovered(people):
    boxes = np.array([[64 * i + 3, 60 * j + 5, 64 * i + 3 + w, 60 * j + 5 + h] for i, j, w, h in people]).reshape(-1, 4)
    boxes = (
        boxes[(iou_matrix(boxes, boxes) - np.eye(len(boxes)) <= NMS_IOU - 0.01).all(axis=1)] if len(boxes) else boxes
    )
    cells = ((boxes[:, :2] + boxes[:, 2:]) / 2 // STRIDE).tolist()
    if any(max(abs(a[0] - b[0]), abs(a[1] - b[1])) < 2 for k, a in enumerate(cells) for b in cells[:k]):
        return  # neighbouring centres hide each other
    scores = np.linspace(0.9, 0.5, len(boxes))
    found, confidence = decode_centres(centre_map(boxes, scores, MAP, STRIDE), STRIDE, 0.3)
    np.testing.assert_allclose(found, boxes, atol=1e-3)
    np.testing.assert_allclose(confidence, scores, atol=1e-5)


def test_nobody_is_an_empty_answer():
    boxes, scores = decode_centres(centre_map([], [], MAP, STRIDE), STRIDE, 0.3)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


def test_the_highest_score_comes_first():
    boxes = np.array([[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]])
    found, scores = decode_centres(centre_map(boxes, [0.5, 0.9, 0.7], MAP, STRIDE), STRIDE, 0.3)
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.5], atol=1e-6)
    np.testing.assert_allclose(found, boxes[[1, 2, 0]], atol=1e-3)


def test_scores_below_the_threshold_are_left_out():
    boxes = np.array([[0, 0, 40, 40], [100, 0, 140, 40]])
    assert len(decode_centres(centre_map(boxes, [0.5, 0.29], MAP, STRIDE), STRIDE, 0.3)[0]) == 1


@pytest.mark.parametrize("cell", [(0, 0), (39, 0), (0, 29), (39, 29), (20, 0), (0, 15)])
def test_people_at_the_border_are_found(cell):
    middle = (np.array(cell) + 0.5) * STRIDE
    box = np.concatenate([middle - 20, middle + 20])[None]
    np.testing.assert_allclose(decode_centres(centre_map(box, [0.8], MAP, STRIDE), STRIDE, 0.3)[0], box, atol=1e-3)


def test_a_person_reaching_outside_is_not_clipped():
    box = np.array([[-40, -60, 60, 90]])
    np.testing.assert_allclose(decode_centres(centre_map(box, [0.8], MAP, STRIDE), STRIDE, 0.3)[0], box, atol=1e-3)


def test_neighbours_below_a_peak_are_not_people():
    output = centre_map([[100, 60, 180, 220]], [0.9], MAP, STRIDE)
    row, column = np.argwhere(output[0] > 0)[0]
    output[:, row - 1 : row + 2, column - 1 : column + 2] = output[:, row, column][:, None, None]
    output[0, row, column] += 1
    assert len(decode_centres(output, STRIDE, 0.3)[0]) == 1


@pytest.mark.parametrize("box", [[100, 60, 180, 220], [133, 101, 145, 113]], ids=["large", "small"])
def test_a_plateau_of_equal_logits_is_one_person_in_its_middle(box):
    output = centre_map([box], [0.9], MAP, STRIDE)
    row, column = np.argwhere(output[0] > 0)[0]
    output[:, row - 2 : row + 3, column - 1 : column + 2] = output[:, row, column][:, None, None]
    np.testing.assert_allclose(decode_centres(output, STRIDE, 0.3)[0], [box], atol=1e-3)


def test_two_detections_of_one_box_are_one_person():
    boxes = np.array([[100, 60, 180, 220], [118, 60, 198, 220]])
    found, _ = decode_centres(centre_map(boxes, [0.8, 0.9], MAP, STRIDE), STRIDE, 0.3)
    assert iou_matrix(boxes[:1], boxes[1:])[0, 0] > NMS_IOU
    np.testing.assert_allclose(found, boxes[1:], atol=1e-3)


def test_of_too_many_candidates_the_best_are_kept():
    corners = np.array([(16 * i, 16 * j) for i in range(20) for j in range(15)])
    boxes = np.concatenate([corners, corners + 12], axis=1)
    scores = np.random.default_rng(0).permutation(np.linspace(0.4, 0.9, len(boxes)))
    found, confidence = decode_centres(centre_map(boxes, scores, MAP, STRIDE), STRIDE, 0.3)
    best = np.argsort(-scores)[:CANDIDATES]
    np.testing.assert_allclose(found, boxes[best], atol=1e-3)
    np.testing.assert_allclose(confidence, scores[best], atol=1e-5)


@pytest.mark.parametrize("value", [-1e30, -1e4, 0.0, 1e4, 1e30])
def test_extreme_outputs_give_finite_answers(value):
    boxes, scores = decode_centres(np.full((5, 30, 40), value, np.float32), STRIDE, 0.3)
    assert np.isfinite(scores).all()
    assert np.isfinite(boxes).all()
    assert len(boxes) <= CANDIDATES


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", range(5))
def test_a_broken_networks_output_is_refused_rather_than_taken_for_nobody(value, channel):
    output = centre_map([[100, 60, 180, 220]], [0.9], MAP, STRIDE)
    output[channel, 3, 3] = value
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        decode_centres(output, STRIDE, 0.3)
