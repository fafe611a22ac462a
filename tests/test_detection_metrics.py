"""Precision and recall of boxes: hand examples."""

from __future__ import annotations

import numpy as np
import pytest

from mobilepose_sdk.detection_metrics import DetectionCurve, PicturePeople, detection_curve, split_people


def found(people, boxes, scores, ignored=()):
    shaped = (np.array(rows, dtype=np.float64).reshape(-1, 4) for rows in (people, ignored, boxes))
    return PicturePeople(*shaped, np.array(scores, dtype=np.float64))


ANN, BOB, NOBODY = [0, 0, 10, 10], [100, 0, 110, 10], [300, 300, 320, 320]


def test_a_curve_by_hand():
    curve = detection_curve([found([ANN, BOB], [ANN, NOBODY, BOB], [0.9, 0.8, 0.7])])
    assert curve.scores.tolist() == [0.9, 0.8, 0.7]
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(curve.recall, [1 / 2, 1 / 2, 1])
    assert curve.average_precision == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_average_precision_counts_the_best_precision_at_a_recall_or_above():
    curve = detection_curve([found([ANN, BOB], [NOBODY, ANN, BOB], [0.9, 0.8, 0.7])])
    np.testing.assert_allclose(curve.precision, [0, 1 / 2, 2 / 3])
    assert curve.average_precision == pytest.approx(2 / 3)


def test_one_curve_is_drawn_over_all_pictures():
    curve = detection_curve([found([ANN], [ANN], [0.5]), found([BOB], [NOBODY], [0.9]), found([], [], [])])
    assert curve.scores.tolist() == [0.9, 0.5]
    np.testing.assert_allclose(curve.precision, [0, 1 / 2])
    np.testing.assert_allclose(curve.recall, [0, 1 / 2])


def test_the_second_detection_of_a_person_is_wrong():
    curve = detection_curve([found([ANN], [ANN, ANN], [0.9, 0.8])])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2])


def test_the_better_scored_of_two_detections_is_the_correct_one():
    curve = detection_curve([found([ANN], [[0, 0, 10, 8], ANN], [0.8, 0.9])])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2])


@pytest.mark.parametrize(("width", "correct"), [(5, 1), (4.9, 0)])
def test_half_an_overlap_is_enough(width, correct):
    assert detection_curve([found([ANN], [[0, 0, width, 10]], [0.9])]).recall.tolist() == [correct]


def test_in_an_ignored_region_nothing_is_wrong():
    curve = detection_curve([found([ANN], [ANN, [300, 300, 310, 310]], [0.5, 0.9], ignored=[NOBODY])])
    assert curve.scores.tolist() == [0.5]
    assert curve.average_precision == 1


def test_less_than_half_inside_an_ignored_region_is_wrong():
    curve = detection_curve([found([ANN], [ANN, [311, 300, 331, 320]], [0.5, 0.9], ignored=[NOBODY])])
    np.testing.assert_allclose(curve.precision, [0, 1 / 2])


def test_a_person_inside_an_ignored_region_still_counts():
    assert detection_curve([found([ANN], [ANN], [0.9], ignored=[[0, 0, 50, 50]])]).average_precision == 1


def test_a_threshold_is_looked_up():
    curve = detection_curve([found([ANN, BOB], [ANN, NOBODY, BOB], [0.9, 0.8, 0.7])])
    assert curve.at(0.95) == (1, 0)
    assert curve.at(0.9) == (1, 0.5)
    assert curve.at(0.75) == (0.5, 0.5)
    assert curve.at(0) == pytest.approx((2 / 3, 1))


def test_a_threshold_for_a_precision_is_the_lowest_that_reaches_it():
    scores, recall = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 2, 2]) / 4
    precision = np.array([1, 0.5, 0.67, 0.5])
    curve = DetectionCurve(scores, precision, recall, 0.5)
    assert curve.threshold_for(0.6) == 0.7
    assert curve.threshold_for(0.5) == 0.6
    never = DetectionCurve(scores, precision / 2, recall, 0.2)
    assert never.threshold_for(0.6) == never.best_threshold()


def test_the_best_threshold_has_the_highest_f1():
    boxes = [ANN, NOBODY, BOB, [400, 0, 410, 10]]
    assert detection_curve([found([ANN, BOB], boxes, [0.9, 0.8, 0.7, 0.6])]).best_threshold() == 0.7


@pytest.mark.parametrize("pictures", [[], [found([], [], [])], [found([ANN], [], [])]], ids=["none", "empty", "missed"])
def test_nothing_found_is_an_empty_curve(pictures):
    curve = detection_curve(pictures)
    assert curve.average_precision == 0
    assert curve.at(0.5) == (1, 0)
    assert curve.best_threshold() == 1


def test_crowds_and_small_people_are_ignored():
    entries = [
        {"bbox": [1, 2, 30, 40], "iscrowd": 0},
        {"bbox": [5, 5, 90, 90], "iscrowd": 1},
        {"bbox": [7, 7, 30, 10]},
    ]
    people, ignored = split_people(entries, height=100, smallest=0.1)
    assert people.tolist() == [[1, 2, 31, 42]]
    assert ignored.tolist() == [[5, 5, 95, 95], [7, 7, 37, 17]]
