"""PCK, PCKh and OKS AP: hand examples and pycocotools itself."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.metrics import (
    COCO_STATS,
    coco_average_precision,
    head_segment,
    keypoint_similarity,
    pck,
    pckh,
    torso_length,
)
from mobilepose_sdk.skeleton import COCO_17, LSP_14, MPII_16, SKELETONS

L_SHOULDER, R_SHOULDER, L_HIP, R_HIP, NOSE, L_WRIST = 5, 6, 11, 12, 0, 9


def person() -> np.ndarray:
    """(1, 17, 2) someone whose left shoulder is 50 pixels from the right hip, and whose other diagonal is 45."""
    keypoints = np.zeros((1, 17, 2))
    keypoints[0, L_SHOULDER], keypoints[0, R_HIP] = [40, 0], [0, 30]
    keypoints[0, R_SHOULDER], keypoints[0, L_HIP] = [0, 3], [36, 30]
    return keypoints


EVERYTHING = np.ones((1, 17), dtype=bool)


def test_the_torso_is_the_longer_diagonal_from_a_shoulder_to_the_other_hip():
    assert torso_length(person(), EVERYTHING).tolist() == [50]
    assert torso_length(person()[:, :, ::-1], EVERYTHING).tolist() == [50]


@pytest.mark.parametrize("missing", [L_SHOULDER, R_HIP])
def test_with_one_diagonal_unlabelled_the_torso_is_the_other(missing):
    labelled = EVERYTHING.copy()
    labelled[0, missing] = False
    assert torso_length(person(), labelled).tolist() == [45]


def test_without_a_labelled_diagonal_there_is_no_torso():
    labelled = EVERYTHING.copy()
    labelled[0, [L_SHOULDER, R_SHOULDER]] = False
    assert np.isnan(torso_length(person(), labelled)).all()


def test_a_keypoint_is_correct_up_to_the_threshold_times_the_torso():
    predicted = person()
    predicted[0, L_WRIST] += [10, 0]  # exactly 0.2 · 50
    predicted[0, L_HIP] += [0, 10.01]
    predicted[0, R_HIP] += [6, -7]
    answer = pck(predicted, person(), EVERYTHING)
    assert answer.count == 12
    assert answer.value == pytest.approx(11 / 12)
    assert np.flatnonzero(answer.per_keypoint == 0).tolist() == [L_HIP - 5]
    assert answer.per_keypoint.shape == (12,)


def test_the_threshold_is_a_share_of_the_torso():
    predicted = person()
    predicted[0, L_WRIST] += [10, 0]
    assert pck(predicted, person(), EVERYTHING, threshold=0.1).value == pytest.approx(11 / 12)


def test_the_face_is_not_counted():
    predicted = person()
    predicted[0, :5] += 1000
    assert pck(predicted, person(), EVERYTHING).value == 1


def test_unlabelled_keypoints_are_not_counted():
    labelled = EVERYTHING.copy()
    labelled[0, L_WRIST] = False
    predicted = person()
    predicted[0, L_WRIST] += 1000
    answer = pck(predicted, person(), labelled)
    assert (answer.value, answer.count) == (1, 11)
    assert np.isnan(answer.per_keypoint[L_WRIST - 5])


@pytest.mark.parametrize("visibility", [1, 2])
def test_cocos_visibility_says_what_is_labelled(visibility):
    labelled = np.full((1, 17), visibility)
    labelled[0, L_WRIST] = 0
    assert torso_length(person(), labelled).tolist() == [50]
    measured = pck(person(), person(), labelled)
    assert (measured.value, measured.count) == (1, 11)
    measured = pckh(person(), person(), labelled, [[0, 0, 30, 40]], skeleton=COCO_17)
    assert (measured.value, measured.count) == (1, 16)


@pytest.mark.parametrize(
    ("predicted", "truth", "labelled", "message"),
    [
        ((1, 17, 2), (3, 17, 2), (3, 17), r"predicted must be \(3, 17, 2\) for coco-17, got shape \(1, 17, 2\)"),
        ((3, 16, 2), (3, 16, 2), (3, 16), "predicted must be"),
        ((3, 17, 2), (3, 17, 3), (3, 17), "truth must be"),
        ((3, 17, 2), (3, 17, 2), (1, 17), r"labelled must be \(3, 17\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(predicted, truth, labelled, message):
    arrays = np.zeros(predicted), np.zeros(truth), np.ones(labelled)
    with pytest.raises(InvalidInputError, match=message):
        pck(*arrays)
    with pytest.raises(InvalidInputError, match=message):
        pckh(*arrays, np.ones((3, 4)), skeleton=COCO_17)


def test_there_is_one_head_box_a_person():
    with pytest.raises(InvalidInputError, match="one a person, got 2 for 1"):
        pckh(person(), person(), np.ones((1, 17)), np.ones((2, 4)), skeleton=COCO_17)


@pytest.mark.parametrize("torso", ["unlabelled", "of no length"])
def test_people_without_a_torso_are_not_counted(torso):
    truth, labelled = np.concatenate([person(), person()]), np.repeat(EVERYTHING, 2, axis=0)
    if torso == "unlabelled":
        labelled[1, [L_SHOULDER, R_SHOULDER]] = False
    else:
        truth[1] = 7
    predicted = truth.copy()
    predicted[1] += 1000
    answer = pck(predicted, truth, labelled)
    assert (answer.value, answer.count) == (1, 12)


def test_a_missing_person_is_all_wrong():
    assert pck(np.full((1, 17, 2), np.inf), person(), EVERYTHING).value == 0


def test_pck_of_nobody_is_not_a_number():
    answer = pck(np.zeros((0, 17, 2)), np.zeros((0, 17, 2)), np.zeros((0, 17), bool))
    assert np.isnan(answer.value)
    assert answer.count == 0


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_pck_is_the_same_in_every_layout(skeleton):
    predicted = person()
    predicted[0, L_WRIST] += [10.01, 0]
    predicted[0, L_HIP] += 30
    source = {name: index for index, name in enumerate(COCO_17.names)}
    order = [source.get(name, 0) for name in skeleton.names]
    labelled = np.ones((1, len(skeleton)), bool)
    answer = pck(predicted[:, order], person()[:, order], labelled, skeleton=skeleton)
    assert answer.value == pytest.approx(10 / 12)
    assert (answer.of("left_wrist"), answer.of("left_hip"), answer.of("right_wrist")) == (0, 0, 1)
    assert np.isnan(answer.of("nose"))


# PCKh

HEAD = np.array([[10, 10, 40, 50]])  # 30×40: a diagonal of 50, so a head segment of 30
SIXTEEN = np.ones((1, 16), dtype=bool)


def test_the_head_segment_is_six_tenths_of_the_head_boxs_diagonal():
    assert head_segment(HEAD).tolist() == [30]


def test_a_keypoint_is_correct_up_to_half_the_head_segment():
    predicted = np.zeros((1, 16, 2))
    predicted[0, 0] = [15, 0]  # exactly half of 30
    predicted[0, 1] = [0, 15.01]
    predicted[0, 2] = [9, 12]
    answer = pckh(predicted, np.zeros((1, 16, 2)), SIXTEEN, HEAD)
    assert (answer.of("right_ankle"), answer.of("right_knee"), answer.of("right_hip")) == (1, 0, 1)
    assert answer.value == pytest.approx(13 / 14)
    assert pckh(predicted, np.zeros((1, 16, 2)), SIXTEEN, HEAD, threshold=0.51).value == 1


@pytest.mark.parametrize("name", ["pelvis", "thorax"])
def test_pelvis_and_thorax_have_their_own_figure_but_no_part_in_the_mean(name):
    predicted = np.zeros((1, 16, 2))
    predicted[0, MPII_16.names.index(name)] = 1000
    answer = pckh(predicted, np.zeros((1, 16, 2)), SIXTEEN, HEAD)
    assert (answer.of(name), answer.value, answer.count) == (0, 1, 14)


def test_pckh_is_a_share_of_keypoints_not_of_people():
    """One with 14 right ones, and one with a single label, wrong; each by the size of their own head."""
    labelled = np.repeat(SIXTEEN, 2, axis=0)
    labelled[1, 1:] = False
    predicted = np.full((2, 16, 2), 10.0)  # 14.1 pixels away
    answer = pckh(predicted, np.zeros((2, 16, 2)), labelled, np.concatenate([HEAD, [[0, 0, 10, 10]]]))
    assert (answer.value, answer.count) == (pytest.approx(14 / 15), 15)
    assert (answer.of("right_ankle"), answer.of("left_ankle")) == (0.5, 1)


@pytest.mark.parametrize("head", [[7, 7, 7, 7], [np.nan] * 4], ids=["of no size", "unknown"])
def test_people_without_a_head_box_are_not_counted(head):
    truth = np.zeros((2, 16, 2))
    predicted = truth.copy()
    predicted[1] = 1000
    answer = pckh(predicted, truth, np.repeat(SIXTEEN, 2, axis=0), np.concatenate([HEAD, [head]]))
    assert (answer.value, answer.count) == (1, 14)


def test_unknown_keypoints_are_wrong_and_unlabelled_ones_are_not_counted():
    labelled = SIXTEEN.copy()
    labelled[0, 0] = False
    predicted = np.zeros((1, 16, 2))
    predicted[0, [0, 9]] = np.nan
    answer = pckh(predicted, np.zeros((1, 16, 2)), labelled, HEAD)
    assert np.isnan(answer.of("right_ankle"))
    assert answer.of("head_top") == 0
    assert answer.value == pytest.approx(12 / 13)


def test_pckh_is_that_of_mpiis_evaluation_code():
    """The published steps, for 40 people: errors over 0.6 of the head diagonal, weighted by labels, but for 6 and 7."""
    rng = np.random.default_rng(0)
    truth, labelled = rng.uniform(0, 300, (40, 16, 2)), rng.random((40, 16)) < 0.8
    predicted = truth + rng.normal(0, 15, truth.shape)
    heads = np.concatenate([np.zeros((40, 2)), rng.uniform(20, 60, (40, 2))], axis=1)
    scaled = (
        np.linalg.norm(predicted - truth, axis=2) / (0.6 * np.linalg.norm(heads[:, 2:] - heads[:, :2], axis=1))[:, None]
    )
    count = labelled.sum(axis=0)
    share = ((scaled <= 0.5) & labelled).sum(axis=0) / count
    kept = [index for index in range(16) if index not in (6, 7)]
    answer = pckh(predicted, truth, labelled, heads)
    np.testing.assert_allclose(answer.per_keypoint, share)
    assert answer.value == pytest.approx((share[kept] * count[kept] / count[kept].sum()).sum())
    assert 0.2 < answer.value < 0.8


# Similarity of one keypoint


def test_a_keypoints_similarity_falls_with_its_distance():
    """exp(-d²/(2·area·(2σ)²)): e^-1/2 where d = 2σ·√area."""
    truth = np.zeros((1, 17, 2))
    predicted = truth.copy()
    predicted[0, L_HIP] = [2 * 0.107 * 50, 0]
    predicted[0, NOSE] = np.nan
    similarity = keypoint_similarity(predicted, truth, np.array([2500.0]))
    assert similarity[0, L_HIP] == pytest.approx(np.exp(-0.5))
    assert (similarity[0, NOSE], similarity[0, L_WRIST]) == (0, 1)


# Average precision


def coco(seed: int = 0, pictures: int = 6, noise: float = 6.0):
    """A small COCO file, and results of mixed quality for it, some of them wrong or missing."""
    rng = np.random.default_rng(seed)
    images, annotations, results = [], [], []
    for image_id in range(1, pictures + 1):
        images.append({"id": image_id, "width": 640, "height": 480, "file_name": f"{image_id}.jpg"})
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = *rng.uniform(0, 300, 2), *rng.uniform(30, 170, 2)
            points = np.column_stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17), rng.integers(0, 3, 17)])
            points[points[:, 2] == 0] = 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h * 0.6,
                    "iscrowd": int(rng.random() < 0.1),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "keypoints": points.ravel().tolist(),
                }
            )
            for _ in range(rng.integers(0, 3)):
                found = points.copy()
                found[:, :2] += rng.normal(0, noise * rng.random(), (17, 2))
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": 1,
                        "keypoints": found.ravel().tolist(),
                        "score": float(rng.random()),
                    }
                )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, results


def pycocotools_stats(annotations, results, image_ids=None, sigmas=COCO_17.sigmas):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy({"info": {}, **annotations})
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), iouType="keypoints")
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([None, [1, 2, 4]]))
def test_average_precision_is_pycocotools(seed, image_ids):
    annotations, results = coco(seed)
    results = results or [{"image_id": 1, "category_id": 1, "keypoints": [0.0] * 51, "score": 0.5}]
    figures = coco_average_precision(annotations, results, image_ids)
    assert tuple(figures) == COCO_STATS
    np.testing.assert_allclose(list(figures.values()), pycocotools_stats(annotations, results, image_ids), atol=1e-9)


@pytest.mark.parametrize("number", [lambda index: index, lambda index: 7], ids=["from 0", "all the same"])
def test_average_precision_does_not_depend_on_how_annotations_are_numbered(number):
    annotations, results = coco()
    renumbered = [{**entry, "id": number(index)} for index, entry in enumerate(annotations["annotations"])]
    expected = coco_average_precision(annotations, results)
    assert coco_average_precision({**annotations, "annotations": renumbered}, results) == expected


def test_average_precision_of_another_skeleton_has_its_sigmas():
    annotations, results = coco()
    for entry in (*annotations["annotations"], *results):
        entry["keypoints"] = entry["keypoints"][: 3 * 14]
    figures = coco_average_precision(annotations, results, sigmas=LSP_14.sigmas)
    stats = pycocotools_stats(annotations, results, sigmas=LSP_14.sigmas)
    np.testing.assert_allclose(list(figures.values()), stats, atol=1e-9)
    assert figures["AP"] != coco_average_precision(annotations, results, sigmas=[0.01] * 14)["AP"]


def perfect(annotations):
    return [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.9}
        for a in annotations["annotations"]
        if not a["iscrowd"] and a["num_keypoints"]
    ]


def test_the_truth_itself_scores_1():
    annotations, _ = coco()
    figures = coco_average_precision(annotations, perfect(annotations))
    assert (figures["AP"], figures["AR"]) == pytest.approx((1, 1))


def test_finding_nobody_scores_0_and_what_is_undefined_stays_undefined():
    annotations, _ = coco()
    for entry in annotations["annotations"]:
        entry["area"] = 50.0**2  # medium, so that there is nobody large
    figures = coco_average_precision(annotations, [])
    assert (figures["AP"], figures["AR"], figures["AP_medium"], figures["AP_large"]) == (0, 0, 0, -1)


def test_nothing_given_is_written_to():
    annotations, results = coco()
    before = copy.deepcopy((annotations, results))
    coco_average_precision(annotations, results)
    assert (annotations, results) == before


def test_results_for_unknown_pictures_are_refused():
    annotations, results = coco()
    with pytest.raises(InvalidInputError, match=r"image_id \[77\]"):
        coco_average_precision(annotations, [*results, {**results[0], "image_id": 77}])


def test_nothing_is_printed(capsys):
    coco_average_precision(*coco())
    assert capsys.readouterr().out == ""
