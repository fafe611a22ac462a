"""Accuracy over a COCO file, with estimators that know the answer."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_people import BOXES, HEIGHT, WIDTH, Knowing, dataset, entry, evaluate, mpii, scattered
from fakes import FakePose, FakeRuntime, make_card, paint_person, peaks, write_model

from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, SourceNotFoundError
from mobilepose_sdk.evaluation import evaluate_detector, evaluate_results
from mobilepose_sdk.metrics import COCO_STATS
from mobilepose_sdk.skeleton import COCO_17, CROWDPOSE_14, LSP_14, MPII_16

SEES_ALL = {"10.png": BOXES, "20.png": BOXES[1:]}


@pytest.fixture
def file(tmp_path):
    return dataset(tmp_path)


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
        def result(self, boxes):
            result = super().result(boxes)
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


def test_a_missing_pycocotools_is_noticed_before_any_picture_is_read(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[eval\]'"):
        evaluate(file, estimator=None)


# Against pycocotools, on files


def summary(truth: Path, found: Path, sigmas=COCO_17.sigmas) -> np.ndarray:
    """pycocotools' ten figures of two files, as its own documentation has them made."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(truth))
        evaluation = COCOeval(annotations, annotations.loadRes(str(found)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("skeleton", [COCO_17, CROWDPOSE_14, LSP_14, MPII_16], ids=lambda skeleton: skeleton.name)
def test_a_results_files_ten_figures_are_pycocotools_own(tmp_path, skeleton):
    truth, found = scattered(tmp_path, skeleton)
    if skeleton is CROWDPOSE_14:  # measured by 0.53 of the box
        content = json.loads(truth.read_text())
        for person in content["annotations"]:
            person["area"] = 0.53 * person["bbox"][2] * person["bbox"][3]
        truth.write_text(json.dumps(content))
    figures = evaluate_results(found, truth).figures["all"]
    stats = summary(truth, found, skeleton.sigmas)
    for name, expected in zip(COCO_STATS, stats):
        assert figures[name] == pytest.approx(expected, abs=1e-9), name
    assert 0.1 < figures["AP"] < 0.9
    assert len(set(stats)) == 10


def test_boxes_in_a_results_file_set_the_sizes_as_in_pycocotools(tmp_path):
    truth, found = scattered(tmp_path)
    results = json.loads(found.read_text())
    found.write_text(json.dumps([{**result, "bbox": [0, 0, 40, 40]} for result in results]))
    figures = evaluate_results(found, truth).figures["all"]
    np.testing.assert_allclose([figures[name] for name in COCO_STATS], summary(truth, found), atol=1e-9)


def test_what_an_estimator_found_can_be_measured_again(file, tmp_path):
    """The written results alone give every figure, and pycocotools reads them as they are."""
    first = evaluate(file, Knowing(SEES_ALL, moved=4.0), boxes="detected")
    (tmp_path / "results.json").write_text(json.dumps(first.results))
    again = evaluate_results(tmp_path / "results.json", file)
    assert again.figures == first.figures
    assert json.dumps(again.keypoints) == json.dumps(first.keypoints)  # NaN is like NaN there
    assert 0 < first.figures["all"]["AP"] < 1
    ten = [first.figures["all"][name] for name in COCO_STATS]
    np.testing.assert_allclose(ten, summary(file, tmp_path / "results.json"), atol=1e-9)


def test_results_without_boxes_are_matched_by_the_extent_of_their_keypoints(file, tmp_path):
    results = evaluate(file, Knowing(SEES_ALL), boxes="detected").results
    bare = [{name: value for name, value in result.items() if name != "bbox"} for result in results]
    (tmp_path / "results.json").write_text(json.dumps(bare))
    assert evaluate_results(tmp_path / "results.json", file).figures["all"]["PCK@0.2"] == 1


@pytest.mark.parametrize("missing", [[0], list(range(17))], ids=["a keypoint", "all"])
def test_what_is_missing_is_no_part_of_the_extent(file, tmp_path, missing):
    """[0, 0, 0] is COCO's word for it, not the picture's corner."""
    results = evaluate(file, Knowing(SEES_ALL), boxes="detected").results
    for result in results:
        result.pop("bbox")
    triples = np.reshape(results[0]["keypoints"], (17, 3))
    triples[missing] = 0
    results[0]["keypoints"] = triples.ravel().tolist()
    (tmp_path / "results.json").write_text(json.dumps(results))
    figures = evaluate_results(tmp_path / "results.json", file).figures["all"]
    assert figures["PCK@0.2"] == pytest.approx(1 if len(missing) == 1 else 2 / 3)  # the nose is no body keypoint


@pytest.mark.parametrize("boxes", ["Given", None, 5])
def test_boxes_are_given_or_detected(file, boxes):
    with pytest.raises(InvalidInputError, match="boxes must be one of 'given', 'detected'"):
        evaluate(file, Knowing(), boxes=boxes)


def test_no_results_at_all_score_0(file, tmp_path):
    (tmp_path / "results.json").write_text("[]")
    figures = evaluate_results(tmp_path / "results.json", file).figures["all"]
    assert (figures["AP"], figures["PCK@0.2"], figures["pictures"]) == (0, 0, 3)


RESULT = {"image_id": 10, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}
BROKEN_RESULTS = {
    "no JSON": ("{", "not a JSON file"),
    "an object": ({"annotations": []}, "must be a list of objects"),
    "numbers": ([1, 2], "must be a list of objects"),
    "no score": ([{k: v for k, v in RESULT.items() if k != "score"}], "result 0 lacks score"),
    "nested without end": ("[" * 100_000, "not a JSON file"),
    "14 keypoints": (
        [{**RESULT, "keypoints": [1] * 42}],
        "result 0 has the keypoints.*42 values.*accepted: 51.*coco-17",
    ),
    "a null": ([{**RESULT, "keypoints": [None] * 51}], "result 0 has the keypoints"),
    "texts for keypoints": ([RESULT, {**RESULT, "keypoints": ["1"] * 51}], "result 1 has the keypoints"),
    "a word for a score": ([{**RESULT, "score": "high"}], "score 'high'"),
    "a text for a score": ([{**RESULT, "score": "0.5"}], "score '0.5'; accepted: a finite number"),
    "a list for a picture": ([{**RESULT, "image_id": [10]}], r"image_id \[10\]; accepted: a number or a text"),
    "a list for a category": ([{**RESULT, "category_id": [1]}], r"category_id \[1\]"),
    "3 numbers for a box": ([{**RESULT, "bbox": [0, 0, 5]}], "result 0: either all results have a bbox"),
    "some boxes": ([{**RESULT, "bbox": [0, 0, 5, 5]}, RESULT], "result 1: either all results have a bbox"),
    "another picture": ([{**RESULT, "image_id": 99}], r"image_id \[99\]"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_RESULTS.values(), ids=BROKEN_RESULTS)
def test_what_is_no_results_file_is_refused(file, tmp_path, content, message):
    (tmp_path / "results.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidInputError, match=message):
        evaluate_results(tmp_path / "results.json", file)


def test_a_missing_results_file_is_named(file, tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"no results file .*none\.json"):
        evaluate_results(tmp_path / "none.json", file)


# By keypoint


def test_every_keypoint_has_its_row(file):
    class LameWrist(Knowing):
        """Its right wrists are far away."""

        def result(self, boxes):
            result = super().result(boxes)
            keypoints = result.keypoints.copy()
            keypoints[:, COCO_17.names.index("right_wrist")] += 500
            return replace(result, keypoints=keypoints)

    keypoints = evaluate(file, LameWrist(SEES_ALL), boxes="detected").keypoints
    assert list(keypoints) == ["all", "beach", "street"]
    rows = keypoints["all"]
    assert tuple(rows) == COCO_17.names
    assert rows["left_wrist"] == {"labelled": 3, "PCK@0.2": 1, "OKS": pytest.approx(1)}
    assert rows["right_wrist"] == {"labelled": 3, "PCK@0.2": 0, "OKS": pytest.approx(0, abs=1e-9)}
    assert math.isnan(rows["nose"]["PCK@0.2"])
    assert keypoints["street"]["left_wrist"]["labelled"] == 1


def test_a_missed_persons_keypoints_have_no_similarity(file):
    rows = evaluate(file, Knowing({"10.png": BOXES}), boxes="detected").keypoints["all"]
    assert rows["nose"] == {"labelled": 3, "PCK@0.2": pytest.approx(np.nan, nan_ok=True), "OKS": pytest.approx(2 / 3)}


def test_the_mean_of_the_keypoints_similarities_is_the_oks(tmp_path):
    """For one person all of whose keypoints are labelled."""
    file = dataset(tmp_path, annotations=[entry(1, 10, BOXES[0])])
    evaluation = evaluate(file, Knowing(moved=3.0))
    mean = np.mean([row["OKS"] for row in evaluation.keypoints["all"].values()])
    spread = 2 * 6600 * (2 * np.array(COCO_17.sigmas)) ** 2
    assert mean == pytest.approx(np.exp(-18 / spread).mean(), abs=1e-4)  # results are rounded


# Other skeletons


def test_poses_are_converted_to_the_files_skeleton(tmp_path):
    evaluation = evaluate(mpii(tmp_path), Knowing())
    rows = evaluation.keypoints["all"]
    assert tuple(rows) == MPII_16.names
    assert evaluation.unknown == ("upper_neck", "head_top")
    assert evaluation.figures["all"]["PCK@0.2"] == 1
    expected = {name: float(name not in evaluation.unknown) for name in MPII_16.names}
    assert {name: row["OKS"] for name, row in rows.items()} == pytest.approx(expected, abs=1e-3)
    assert all(len(result["keypoints"]) == 48 for result in evaluation.results)


def test_with_head_boxes_there_is_pckh(tmp_path):
    """A head of 30×40 pixels: 15 pixels are right, 16 are wrong."""
    file = mpii(tmp_path, bbox_head=[0, 0, 30, 40])
    for moved, share in ((15 / np.sqrt(2) - 1e-3, 12 / 14), (16 / np.sqrt(2), 0)):
        evaluation = evaluate(file, Knowing(moved=moved))
        assert evaluation.figures["all"]["PCKh@0.5"] == pytest.approx(share)
        assert evaluation.keypoints["all"]["pelvis"]["PCKh@0.5"] == (share > 0)
        assert evaluation.keypoints["all"]["head_top"]["PCKh@0.5"] == 0


def test_without_head_boxes_there_is_no_pckh(file):
    evaluation = evaluate(file, Knowing())
    assert "PCKh@0.5" not in evaluation.figures["all"]
    assert "PCKh@0.5" not in evaluation.keypoints["all"]["nose"]


def test_a_person_without_a_head_box_is_left_out_of_pckh(tmp_path):
    file = mpii(tmp_path, bbox_head=[0, 0, 30, 40])
    content = json.loads(file.read_text())
    del content["annotations"][1]["bbox_head"]
    file.write_text(json.dumps(content))
    figures = evaluate(file, Knowing({"10.png": BOXES[:1]}), boxes="detected").figures
    assert figures["all"]["PCKh@0.5"] == pytest.approx(12 / 14)
    assert math.isnan(figures["street"]["PCKh@0.5"])


def test_a_model_of_another_skeleton_is_measured(tmp_path, monkeypatch):
    """A network of 16 heatmaps, whose every keypoint is in the middle of the crop."""
    runtime = FakeRuntime(peaks(np.tile([12.0, 16.0], (16, 1)), (24, 32)))
    monkeypatch.setattr(runtimes, "load", lambda *_: runtime)
    middle = np.tile([[*(BOXES[1][:2] + BOXES[1][2:]) / 2, 2]], (16, 1))
    people = [entry(1, 20, BOXES[1], keypoints=middle.ravel().tolist(), num_keypoints=16, bbox_head=[0, 0, 30, 40])]
    file = dataset(tmp_path, annotations=people)
    with PoseEstimator(write_model(tmp_path / "model", skeleton="mpii-16"), detector=None) as estimator:
        assert estimator(tmp_path / "images" / "20.png", BOXES).skeleton is MPII_16
        evaluation = evaluate(file, estimator)
    assert evaluation.unknown == ()
    assert evaluation.figures["all"]["PCKh@0.5"] == 1
    assert evaluation.figures["all"]["AP"] == pytest.approx(1)


# Bottom-up models


class Seeing(Knowing):
    """A bottom-up model: boxes are an error."""

    card = make_card(approach="bottom-up")

    def batch(self, images, boxes=None):
        assert boxes is None
        return super().batch(images)


def test_a_bottom_up_model_finds_people_by_itself_in_all_pictures(file):
    assert evaluate(file, Seeing(SEES_ALL)).figures == evaluate(file, Knowing(SEES_ALL), boxes="detected").figures


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
