"""Boxes: overlap, suppression, and what a caller may pass as boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilepose_sdk.boxes import LARGEST_SIDE, SMALLEST_SIDE, box_areas, box_nms, checked_boxes, iou_matrix
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.preprocessing import crop_matrices, crop_regions, invert_affine

PICTURE = (640, 480)


@st.composite
def several_boxes(draw, most=8, reach=60):
    """Boxes at whole pixels, so that float32 is exact; some without an area."""
    corner = st.integers(-reach, reach)
    rows = draw(st.lists(st.tuples(corner, corner, st.integers(0, reach), st.integers(0, reach)), max_size=most))
    return np.array([[x, y, x + w, y + h] for x, y, w, h in rows], dtype=np.float32).reshape(-1, 4)


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def suppress(boxes, scores, threshold):
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@given(several_boxes(), several_boxes())
def test_iou_is_the_shared_area_over_the_joint_area(first, second):
    matrix = iou_matrix(first, second)
    assert matrix.shape == (len(first), len(second))
    assert matrix.dtype == np.float32
    for i, j in np.ndindex(matrix.shape):
        assert matrix[i, j] == pytest.approx(iou(first[i].tolist(), second[j].tolist()), abs=1e-6)


def test_boxes_that_only_touch_do_not_overlap():
    assert iou_matrix([[0, 0, 10, 10]], [[10, 0, 20, 10], [0, 10, 10, 20]]).tolist() == [[0, 0]]


def test_an_inverted_box_has_no_area():
    assert box_areas(np.array([[5, 5, 1, 9], [9, 9, 1, 1], [0, 0, 3, 4]])).tolist() == [0, 0, 12]


@given(several_boxes(), st.sampled_from([0.0, 0.11, 0.31, 0.57, 1.0]), st.randoms(use_true_random=False))
def test_nms_keeps_the_best_of_what_overlaps(boxes, threshold, random):
    scores = np.array([random.choice([0.1, 0.5, 0.5, 0.9]) for _ in boxes], dtype=np.float32)
    assert box_nms(boxes, scores, threshold).tolist() == suppress(boxes.tolist(), scores.tolist(), threshold)


def test_a_suppressed_box_suppresses_nobody():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=np.float32)
    assert box_nms(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


@pytest.mark.parametrize("nobody", [[], (), np.zeros((0, 4)), np.zeros(0), [[]]], ids=repr)
def test_an_empty_sequence_is_nobody(nobody):
    checked = checked_boxes(nobody, PICTURE)
    assert checked.shape == (0, 4)
    assert checked.dtype == np.float32


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda b: np.array(b, np.int64), lambda b: np.array(b, ">f8")])
def test_any_sequence_of_numbers_is_taken_in_its_order(kind):
    rows = [[30, 40, 50, 60], [1, 2, 3, 4]]
    checked = checked_boxes(kind(rows), PICTURE)
    assert checked.tolist() == rows
    assert checked.dtype == np.float32


@pytest.mark.parametrize("box", [[-50, -50, 10, 10], [600, 400, 900, 900], [-10, -10, 1000, 1000]])
def test_a_box_may_reach_outside_the_picture_and_is_not_clipped(box):
    assert checked_boxes([box], PICTURE).tolist() == [box]


REFUSED = {
    "one box, not a list": ([1, 2, 3, 4], r"shape \(N, 4\).*got \(4,\).*\[\[x1, y1, x2, y2\]\]"),
    "five numbers": ([[1, 2, 3, 4, 5]], r"got \(1, 5\)"),
    "a batch": (np.ones((2, 3, 4)), r"got \(2, 3, 4\)"),
    "a number": (5, r"got \(\)"),
    "rows of several lengths": ([[1, 2, 3, 4], [1, 2]], r"numbers of shape \(N, 4\)"),
    "text": ("people", r"numbers of shape \(N, 4\)"),
    "names": ([["a", "b", "c", "d"]], r"numbers of shape \(N, 4\)"),
    "masked": (np.ma.masked_equal([[1, 2, 3, 4], [5, 6, 7, 8]], 5), "some are masked; leave those people out"),
    "complex": ([[1j, 2, 3, 4]], r"numbers of shape \(N, 4\)"),
    "a dictionary": ({"boxes": []}, r"numbers of shape \(N, 4\)"),
    "NaN": ([[1, 2, 3, 4], [1, np.nan, 3, 4]], "NaN or infinity: row 1"),
    "infinity": ([[1, 2, np.inf, 4]], "NaN or infinity: row 0"),
    "more than float32 holds": ([[1, 2, 1e300, 4]], "NaN or infinity: row 0"),
    "inverted": ([[1, 2, 3, 4], [30, 2, 10, 40]], "no area .*x2 > x1.*row 1 is .30.0, 2.0, 10.0, 40.0"),
    "a line": ([[10, 2, 10, 40]], "no area"),
    "left of the picture": ([[-20, 5, 0, 40]], "wholly outside the 640×480 picture"),
    "above the picture": ([[20, -50, 40, 0]], "wholly outside"),
    "right of the picture": ([[640, 5, 700, 40]], "wholly outside"),
    "below the picture": ([[20, 480, 40, 500]], "wholly outside"),
    "vanishing": ([[0, 0, 1e-40, 1e-40]], "side under 1e-06 or over 1e\\+09"),
    "immense": ([[-3e38, -3e38, 3e38, 3e38]], "side under 1e-06 or over 1e\\+09"),
}


@pytest.mark.parametrize(("boxes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_box_is_refused_and_said_why(boxes, message):
    with pytest.raises(InvalidInputError, match=message):
        checked_boxes(boxes, PICTURE)


@given(st.floats(SMALLEST_SIDE, LARGEST_SIDE), st.floats(SMALLEST_SIDE, LARGEST_SIDE))
def test_every_accepted_box_can_be_cropped_and_mapped_back(width, height):
    try:
        boxes = checked_boxes([[0, 0, width, height]], PICTURE)
    except InvalidInputError:  # float32 may round a limit outwards
        return
    matrices = crop_matrices(*crop_regions(boxes, (192, 256)), (192, 256))
    assert np.isfinite(matrices).all()
    assert np.isfinite(invert_affine(matrices)).all()
