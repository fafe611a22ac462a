"""Accuracy over a COCO file, with estimators that know the answer."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakePose, paint_person, write_model

from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, SourceNotFoundError
from mobilepose_sdk.evaluation import evaluate_detector, evaluate_poses, read_annotations
from mobilepose_sdk.metrics import COCO_STATS
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17

WIDTH, HEIGHT = 320, 240
BOXES = np.array([[30, 20, 90, 130], [180, 60, 280, 220]], dtype=np.float32)


def layout(box) -> np.ndarray:
    """(17, 2) keypoints spread over a box."""
    share = np.random.default_rng(3).uniform(0.1, 0.9, (17, 2))
    return box[:2] + share * (np.array(box[2:]) - box[:2])


def entry(number: int, image_id: int, box, **changes) -> dict:
    x1, y1, x2, y2 = map(float, box)
    keypoints = np.column_stack([layout(np.array(box)), np.full(17, 2)])
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": keypoints.ravel().tolist(),
        **changes,
    }


def dataset(folder: Path, **changes) -> Path:
    """Three pictures, by two sources: two people, one person, nobody."""
    people = [entry(1, 10, BOXES[0]), entry(2, 10, BOXES[1]), entry(3, 20, BOXES[1])]
    sources = {10: "beach", 20: "street", 30: "street"}
    (folder / "images").mkdir()
    for image_id in sources:
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT, "source": s}
            for i, s in sources.items()
        ],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
        **changes,
    }
    (folder / "people.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "people.json"


class Knowing:
    """An estimator that answers every box, or what it ``sees`` in a picture, with the annotated pose, moved."""

    def __init__(self, sees=None, moved: float = 0.0) -> None:
        self.sees, self.moved = sees or {}, moved

    def batch(self, images, boxes=None):
        boxes = [self.sees.get(path.name, np.zeros((0, 4))) for path in images] if boxes is None else boxes
        return [self._result(np.asarray(given)) for given in boxes]

    def _result(self, boxes):
        n = len(boxes)
        keypoints = np.array([layout(box) for box in boxes]).reshape(n, 17, 2) + self.moved
        return PoseResult(keypoints, np.ones((n, 17)), boxes, np.full(n, 0.9), (WIDTH, HEIGHT), COCO_17)


SEES_ALL = {"10.png": BOXES, "20.png": BOXES[1:]}


@pytest.fixture
def file(tmp_path):
    return dataset(tmp_path)


def evaluate(file, estimator, **options):
    return evaluate_poses(estimator, file, file.parent / "images", **options)


@pytest.mark.parametrize("boxes", ["given", "detected"])
def test_perfect_poses_score_1(file, boxes):
    figures = evaluate(file, Knowing(SEES_ALL), boxes=boxes).figures["all"]
    assert (figures["PCK@0.2"], figures["AP"], figures["AR"]) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("boxes", ["given", "detected"])
def test_wrong_poses_score_0(file, boxes):
    figures = evaluate(file, Knowing(SEES_ALL, moved=150), boxes=boxes).figures["all"]
    assert (figures["PCK@0.2"], figures["AP"]) == (0, 0)


def test_a_missed_person_is_all_wrong(file):
    figures = evaluate(file, Knowing({**SEES_ALL, "10.png": BOXES[:1]}), boxes="detected").figures["all"]
    assert figures["PCK@0.2"] == pytest.approx(2 / 3)
    assert figures["AR"] == pytest.approx(2 / 3)


def test_a_right_pose_in_a_box_that_overlaps_less_than_half_is_nobodys(file):
    class Beside(Knowing):
        def _result(self, boxes):
            result = super()._result(boxes)
            return replace(result, boxes=result.boxes + [60, 0, 60, 0])

    assert evaluate(file, Beside(SEES_ALL), boxes="detected").figures["all"]["PCK@0.2"] == 0


def test_each_person_is_compared_with_the_pose_whose_box_overlaps_most(file):
    figures = evaluate(
        file, Knowing({**SEES_ALL, "10.png": [*BOXES[::-1], [0, 0, 320, 240]]}), boxes="detected"
    ).figures
    assert figures["beach"]["PCK@0.2"] == 1


def test_finding_nobody_at_all_scores_0(file):
    figures = evaluate(file, Knowing(), boxes="detected").figures["all"]
    assert (figures["PCK@0.2"], figures["AP"], figures["AR"]) == (0, 0, 0)


def test_a_detection_of_nobody_lowers_ap_but_not_pck(file):
    ghost = np.array([[200, 0, 230, 50]], np.float32)
    sees = {**SEES_ALL, "10.png": np.concatenate([ghost, BOXES])}  # of equal score, so the first counts first
    figures = evaluate(file, Knowing(sees), boxes="detected").figures["all"]
    assert figures["AP"] < 1
    assert figures["PCK@0.2"] == 1


def test_every_source_has_its_row(file):
    figures = evaluate(file, Knowing({"10.png": BOXES}), boxes="detected").figures
    assert list(figures) == ["all", "beach", "street"]
    assert [(f["PCK@0.2"], f["AR"], f["people"], f["pictures"]) for f in figures.values()] == [
        (pytest.approx(2 / 3), pytest.approx(2 / 3), 3, 3),
        (1, pytest.approx(1), 2, 1),
        (0, 0, 1, 2),
    ]
    assert all(set(COCO_STATS) < set(f) for f in figures.values())


def test_a_source_without_people_has_no_figures(tmp_path):
    file = dataset(tmp_path, annotations=[entry(1, 10, BOXES[0])])
    street = evaluate(file, Knowing({"10.png": BOXES[:1]}), boxes="detected").figures["street"]
    assert (street["people"], street["pictures"]) == (0, 2)
    assert math.isnan(street["AP"])
    assert math.isnan(street["PCK@0.2"])


def test_with_given_boxes_only_pictures_with_people_are_run(file):
    assert evaluate(file, Knowing(), boxes="given").figures["all"]["pictures"] == 2


def test_crowds_and_people_without_keypoints_are_not_counted(tmp_path):
    unlabelled = {"num_keypoints": 0, "keypoints": [0] * 51}
    people = [entry(1, 10, BOXES[0]), entry(2, 10, BOXES[1], iscrowd=1), entry(3, 20, BOXES[1], **unlabelled)]
    figures = evaluate(dataset(tmp_path, annotations=people), Knowing()).figures["all"]
    assert (figures["people"], figures["pictures"], figures["AP"]) == (1, 1, pytest.approx(1))


def test_results_are_the_estimators_own_in_coco_form(file):
    estimator = Knowing()
    results = evaluate(file, estimator).results
    assert results == [
        *estimator.batch([None], [BOXES])[0].to_coco(10),
        *estimator.batch([None], [BOXES[1:]])[0].to_coco(20),
    ]


def test_the_files_own_category_is_used(tmp_path):
    people = [entry(1, 10, BOXES[0], category_id=7)]
    file = dataset(tmp_path, annotations=people, categories=[{"id": 7, "name": "person"}])
    assert evaluate(file, Knowing()).figures["all"]["AP"] == pytest.approx(1)


def test_progress_counts_up_to_all_pictures(file):
    steps = []
    evaluate(file, Knowing(SEES_ALL), boxes="detected", progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (3, 3)


def test_a_real_estimator_is_measured_from_picture_files(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "load", lambda *_: FakePose())
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    truth = np.column_stack([paint_person(picture, tuple(BOXES[1])), np.full(17, 2)])
    file = dataset(tmp_path, annotations=[entry(1, 20, BOXES[1], keypoints=truth.ravel().tolist())])
    cv2.imwrite(str(tmp_path / "images" / "20.png"), picture)
    with PoseEstimator(write_model(tmp_path / "model"), detector=lambda _: BOXES[1:]) as estimator:
        for boxes in ("given", "detected"):
            assert evaluate(file, estimator, boxes=boxes).figures["street"]["PCK@0.2"] == 1


# Files that are none

WITHOUT_PEOPLE = {"annotations": []}
BROKEN = {
    "nobody": (WITHOUT_PEOPLE, "no person with labelled keypoints"),
    "no categories": ({"categories": []}, "needs 'categories'"),
    "boxes only": (
        {"annotations": [{"id": 5, "image_id": 10, "bbox": [0, 0, 9, 9]}]},
        "annotation 5 lacks category_id, area",
    ),
    "14 keypoints": (
        {"annotations": [entry(5, 10, BOXES[0], keypoints=[1] * 42)]},
        "annotation 5 has 42.*accepted: 51",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_measured_is_refused_before_any_picture_is_read(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate(dataset(tmp_path, **changes), estimator=None)


def test_a_missing_pycocotools_is_noticed_before_any_picture_is_read(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[eval\]'"):
        evaluate(file, estimator=None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": []}'], ids=repr)
def test_what_is_no_coco_file_is_refused(tmp_path, content):
    (tmp_path / "people.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"people\.json"):
        read_annotations(tmp_path / "people.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"nothing\.json"):
        read_annotations(tmp_path / "nothing.json")


# Detectors


def test_a_detector_is_measured_where_all_people_are_annotated(tmp_path):
    images = [
        {"id": 10, "file_name": "10.png", "height": HEIGHT},
        {"id": 20, "file_name": "20.png", "height": HEIGHT, "all_people_annotated": False},
        {"id": 30, "file_name": "30.png", "height": HEIGHT, "all_people_annotated": True},
    ]
    file = dataset(tmp_path, images=images)
    curve = evaluate_detector(lambda _: (BOXES[:1], np.array([0.9], np.float32)), file, tmp_path / "images")
    assert curve.recall.tolist() == [0.5, 0.5]  # of picture 10's two people; picture 30 has none
    assert curve.precision.tolist() == [1, 0.5]


def test_people_too_small_are_not_missed(tmp_path):
    file = dataset(tmp_path, annotations=[entry(1, 10, BOXES[0]), entry(2, 10, [5, 5, 9, 10])])
    seen = iter([BOXES[:1], BOXES[:0], BOXES[:0]])
    curve = evaluate_detector(
        lambda _: (b := next(seen), np.ones(len(b)))[0:2], file, tmp_path / "images", smallest=0.05
    )
    assert curve.recall.tolist() == [1]
