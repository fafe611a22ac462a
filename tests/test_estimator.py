"""The one door, with fake networks behind it."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, repeat

import cv2
import numpy as np
import pytest
from fakes import BETA, FakePose, FakeRuntime, paint_person, peaks, write_model
from PIL import Image

from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.errors import (
    InvalidInputError,
    InvalidTypeError,
    MobilePoseError,
    ModelFileError,
    ModelNotFoundError,
    SourceNotFoundError,
)
from mobilepose_sdk.estimator import PICTURES_AT_ONCE
from mobilepose_sdk.threads import Threads

SIZE = (260, 220)
BOXES = np.array([[40, 30, 100, 110], [150, 60, 230, 160], [20, 140, 65, 200]], dtype=np.float32)
BRIGHTNESS = (255, 130, 190)
TOLERANCE = 1.0


@pytest.fixture
def networks(monkeypatch):
    """Loads fake pose networks in place of model files; the list of those that were loaded."""
    loaded: list[FakePose] = []

    def load(card, runtime, precision, threads, device):
        loaded.append(FakePose())
        return loaded[-1]

    monkeypatch.setattr(runtimes, "load", load)
    return loaded


@pytest.fixture
def make(networks, tmp_path):
    """Makes estimators of the fake network, without a detector unless told otherwise."""
    folder = write_model(tmp_path / "pose")
    return lambda **options: PoseEstimator(folder, **{"detector": None, **options})


def scene(boxes=BOXES, size=SIZE):
    """A picture with a person in every box, the first the brightest, and their keypoints."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    truth = [paint_person(picture, tuple(box), (light,) * 3) for box, light in zip(boxes, BRIGHTNESS)]
    return picture, np.array(truth)


def assert_same(first, second, tolerance=0.0):
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=0, atol=tolerance)
    assert first.image_size == second.image_size


# Boxes from the caller


def test_one_pose_a_box_in_the_order_of_the_boxes(make):
    picture, truth = scene()
    order = [1, 0, 2]
    result = make()(picture, boxes=BOXES[order])
    np.testing.assert_allclose(result.keypoints, truth[order], atol=TOLERANCE)
    np.testing.assert_array_equal(result.boxes, BOXES[order])
    assert result.image_size == SIZE
    assert result.skeleton.name == "coco-17"


def test_given_boxes_are_never_merged(make):
    picture, truth = scene()
    result = make(nms="hard")(picture, boxes=[BOXES[1]] * 3)
    np.testing.assert_allclose(result.keypoints, truth[[1, 1, 1]], atol=TOLERANCE)


def test_given_boxes_keep_the_detector_out(make):
    def detector(picture):
        raise AssertionError("the detector was called")

    picture, _ = scene()
    assert len(make(detector=detector)(picture, boxes=BOXES)) == 3


def test_no_boxes_are_nobody(make):
    picture, _ = scene()
    result = make()(picture, boxes=[])
    assert result.keypoints.shape == (0, 17, 2)
    assert result.image_size == SIZE


@pytest.mark.parametrize(
    "boxes", [[1, 2, 3, 4], [[9, 9, 1, 1]], [[0, 0, np.nan, 9]], "all", [[900, 0, 950, 9]]], ids=repr
)
def test_boxes_that_are_none_are_refused(make, boxes):
    with pytest.raises(InvalidInputError, match="boxes"):
        make()(scene()[0], boxes=boxes)


# Detection


def test_without_a_detector_the_whole_picture_is_one_person(make):
    picture, truth = scene(np.array([[40, 30, 220, 200]]))
    result = make(detector=None)(picture)
    np.testing.assert_array_equal(result.boxes, [[0, 0, *SIZE]])
    np.testing.assert_allclose(result.keypoints, truth, atol=3)


@pytest.mark.parametrize(
    "answer",
    [BOXES, BOXES.tolist(), BOXES.astype(np.float64), (BOXES, np.array([0.5, 0.9, 0.8])), (BOXES.tolist(), [1, 1, 1])],
    ids=["array", "list", "float64", "array and scores", "lists"],
)
def test_a_detector_returns_boxes_or_boxes_and_scores(make, answer):
    picture, truth = scene()
    result = make(detector=lambda _: answer)(picture)
    by_x = np.argsort(result.boxes[:, 0])
    np.testing.assert_allclose(result.keypoints[by_x], truth[[2, 0, 1]], atol=TOLERANCE)


def test_a_detector_is_given_the_picture_in_bgr(make):
    seen = []
    picture = np.dstack([np.full((20, 30), value, np.uint8) for value in (10, 20, 30)])
    detector = lambda image: seen.append(image.copy()) or []  # noqa: E731
    make(detector=detector)(picture)
    make(detector=detector, color="rgb")(np.ascontiguousarray(picture[:, :, ::-1]))
    for image in seen:
        np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize("nobody", [[], (), np.zeros((0, 4)), (np.zeros((0, 4)), np.zeros(0)), ([], [])], ids=repr)
def test_nobody_detected_is_an_empty_result(make, nobody):
    result = make(detector=lambda _: nobody)(scene()[0])
    assert result.keypoints.shape == (0, 17, 2)
    assert result.boxes.shape == (0, 4)


RUBBISH = {
    "nothing": None,
    "text": "two people",
    "one box": [1, 2, 3, 4],
    "five columns": np.ones((2, 5)),
    "NaN": [[0, 0, np.nan, 5]],
    "three things": (BOXES, np.ones(3), np.zeros(3)),
    "too few scores": (BOXES, np.ones(2)),
    "scores of another shape": (BOXES, np.ones((3, 1))),
    "scores that are text": (BOXES, ["a", "b", "c"]),
    "scores that are none": (BOXES, None, None),
    "NaN scores": (BOXES, [1, np.nan, 1]),
    "two boxes as a tuple": (BOXES[0], BOXES[1]),
    "a dictionary": {"boxes": BOXES},
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_a_detectors_rubbish_is_refused(make, rubbish):
    with pytest.raises(InvalidInputError, match="boxes|scores"):
        make(detector=lambda _: rubbish)(scene()[0])


@pytest.mark.parametrize("nms", ["hard", "soft", "parallel"])
def test_two_detections_of_one_person_are_merged(make, nms):
    picture, truth = scene()
    twice = np.concatenate([BOXES, BOXES[1:2] + 2])
    result = make(detector=lambda _: (twice, [0.9, 0.8, 0.9, 0.9]), nms=nms)(picture)
    assert len(result) == 3
    np.testing.assert_allclose(result.keypoints[np.argsort(result.boxes[:, 0])], truth[[2, 0, 1]], atol=TOLERANCE)
    assert twice[3].tolist() in result.boxes.tolist()


def test_without_nms_every_detection_stays(make):
    picture, _ = scene()
    assert len(make(detector=lambda _: np.concatenate([BOXES, BOXES]), nms=None)(picture)) == 6


def test_detected_people_come_highest_score_first(make):
    picture, truth = scene()
    result = make(detector=lambda _: BOXES[[1, 2, 0]])(picture)
    assert (np.diff(result.scores) < 0).all()
    np.testing.assert_array_equal(result.boxes, BOXES[[0, 2, 1]])
    np.testing.assert_allclose(result.keypoints, truth[[0, 2, 1]], atol=TOLERANCE)


def test_a_persons_score_includes_the_detectors(make):
    picture, _ = scene()
    one = BOXES[:1]
    sure, unsure = (make(detector=lambda _, s=s: (one, [s]))(picture).scores[0] for s in (1.0, 0.25))
    assert unsure == pytest.approx(sure / 4)


# Pictures


def test_color_is_the_order_of_arrays(make):
    """Only where it is named right does the detector find the red person."""

    def red_people(picture):
        rows, columns = np.nonzero(picture[:, :, 2] > 100)
        return [[columns.min() - 20, rows.min() - 20, columns.max() + 20, rows.max() + 20]] if len(rows) else []

    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    paint_person(picture, tuple(BOXES[0]), color=(0, 0, 255))
    swapped = np.ascontiguousarray(picture[:, :, ::-1])
    assert len(make(detector=red_people)(picture)) == 1
    assert len(make(detector=red_people, color="rgb")(swapped)) == 1
    assert len(make(detector=red_people)(swapped)) == 0
    assert len(make(detector=red_people, color="rgb").batch([swapped])[0]) == 1


def test_files_bytes_and_pil_pictures_say_their_order_themselves(make, tmp_path):
    picture, _ = scene()
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    path = tmp_path / "bild ü.png"
    path.write_bytes(encoded)
    expected = make()(picture)
    for color in ("bgr", "rgb"):
        estimator = make(color=color)
        for source in (path, str(path), encoded, Image.fromarray(picture[:, :, ::-1].copy())):
            assert_same(estimator(source), expected)


def test_a_picture_is_not_written_to(make):
    picture, _ = scene()
    before = picture.copy()
    make(flip_test=True)(picture)
    np.testing.assert_array_equal(picture, before)


def test_a_missing_picture_is_an_error(make):
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        make()("nowhere.jpg")


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 40_000)])
def test_pictures_of_any_shape_are_taken(make, shape):
    result = make()(np.full((*shape, 3), 255, np.uint8))
    assert len(result) == 1
    assert np.isfinite(result.keypoints).all()


# Batches


def test_a_batch_equals_single_calls(make):
    pictures = [scene(BOXES[:count], (200 + 20 * count, 220))[0] for count in (1, 2, 3)] * 7
    assert len(pictures) > PICTURES_AT_ONCE
    estimator = make(detector=lambda picture: BOXES[: (picture.shape[1] - 200) // 20])
    for together, alone in zip(estimator.batch(pictures), map(estimator, pictures), strict=True):
        assert_same(together, alone, tolerance=1e-3)  # NumPy sums in another order


def test_a_batch_takes_boxes_for_some_pictures(make):
    picture, truth = scene()
    given, detected, nobody = make(detector=lambda _: BOXES[:1]).batch([picture] * 3, [BOXES[[2, 1]], None, []])
    np.testing.assert_allclose(given.keypoints, truth[[2, 1]], atol=TOLERANCE)
    np.testing.assert_allclose(detected.keypoints, truth[:1], atol=TOLERANCE)
    assert len(nobody) == 0


def test_an_empty_batch_is_an_empty_list(make):
    assert make().batch([]) == []


def test_a_batch_takes_any_iterable_of_pictures(make):
    picture, _ = scene()
    estimator = make()
    for pictures in ((p for p in (picture, picture)), np.stack([picture, picture]), (picture, picture)):
        assert len(estimator.batch(pictures)) == 2


def test_a_batch_needs_boxes_for_every_picture(make):
    with pytest.raises(InvalidInputError, match="2 pictures but 1 entries"):
        make().batch([scene()[0]] * 2, [BOXES])


@pytest.mark.parametrize(
    "picture",
    ["people.jpg", b"\xff\xd8", np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), Image.new("L", (5, 5))],
)
def test_one_picture_is_no_batch(make, picture):
    with pytest.raises(InvalidTypeError, match=r"several pictures.*pass \[picture\]"):
        make().batch(picture)


# Options

BAD = {
    "color": ("gbr", InvalidInputError, "color must be one of 'bgr', 'rgb', got 'gbr'"),
    "nms": ("greedy", InvalidInputError, "nms must be one of 'parallel', 'soft', 'hard', None, got 'greedy'"),
    "decoder": ("argmax", InvalidInputError, "decoder must be one of 'soft-argmax', 'quarter-offset', None, got"),
    "blur": (1e9, InvalidInputError, "blur must be a standard deviation above 0 and at most 32 heatmap pixels, got"),
    "flip_test": ("no", InvalidInputError, "flip_test must be True or False, got 'no'"),
    "threads": (0, InvalidInputError, "threads must be 'auto' or a whole number from 1 to 4096, got 0"),
    "runtime": ("onnx", InvalidInputError, "unknown runtime 'onnx'; accepted: openvino"),
    "precision": ("int4", ModelNotFoundError, "no 'int4' files.*'openvino': .'int8'."),
    "detector": (5, InvalidTypeError, "detector must be a name, a callable or None, got int"),
    "model": ("lpn-1000", ModelNotFoundError, "no pose model 'lpn-1000'; packaged: .*or give a model folder"),
}


def test_a_precision_is_a_name(tmp_path):
    with pytest.raises(InvalidInputError, match=r"a precision is one of int8, got \['int8'\]"):
        PoseEstimator(write_model(tmp_path / "pose"), detector=None, precision=["int8"])


@pytest.mark.parametrize("option", BAD)
def test_a_bad_option_is_refused_and_the_accepted_named(tmp_path, option):
    value, error, message = BAD[option]
    options = {"model": write_model(tmp_path / "pose"), "detector": None, option: value}
    with pytest.raises(error, match=message):
        PoseEstimator(**options)


@pytest.mark.parametrize("threads", [-1, 1.5, True, "two", None, 2**31])
def test_threads_are_a_whole_number_or_auto(tmp_path, threads):
    with pytest.raises(InvalidInputError, match="threads must be 'auto' or a whole number"):
        PoseEstimator(write_model(tmp_path / "pose"), threads=threads)


@pytest.mark.parametrize("model", [None, 5, b"lpn-50"])
def test_a_model_is_a_name_or_a_folder(model):
    with pytest.raises(InvalidTypeError, match="a name or a folder, got"):
        PoseEstimator(model)


def test_a_detector_is_no_pose_model(make, tmp_path):
    folder = write_model(tmp_path / "detector", kind="detector")
    with pytest.raises(InvalidInputError, match="fake-detector is a detector model; a pose model is needed"):
        PoseEstimator(folder)


def test_a_pose_model_is_no_detector(make, tmp_path):
    with pytest.raises(InvalidInputError, match="fake-pose is a pose model; a detector model is needed"):
        make(detector=write_model(tmp_path / "other"))


@pytest.mark.parametrize(
    "change",
    [
        {"skeleton": "hand-21"},
        {"decoder": {}},
        {"decoder": {"method": "soft-argmax"}},
        {"decoder": {"method": "argmax", "beta": 160}},
        {"decoder": {"method": "soft-argmax", "beta": "high"}},
        {"decoder": {"method": "soft-argmax", "beta": 160, "blur": 1e9}},
        {"decoder": {"method": "soft-argmax", "beta": 160, "blurr": 1}},
    ],
    ids=repr,
)
def test_a_card_that_does_not_say_how_to_decode_is_a_broken_model(tmp_path, change):
    with pytest.raises(ModelFileError, match="fake-pose"):
        PoseEstimator(write_model(tmp_path / "pose", **change), detector=None)


def test_the_runtime_is_loaded_with_what_was_asked_for(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(runtimes, "load", lambda *options: asked.append(options[1:]) or FakePose())
    PoseEstimator(
        write_model(tmp_path / "pose"),
        detector=write_model(tmp_path / "detector", kind="detector"),
        precision="int8",
        threads=3,
        device="AUTO",
    )
    threads = Threads(3, "latency")
    assert asked == [("openvino", "int8", threads, "AUTO"), ("openvino", None, threads, "AUTO")]


def test_the_cards_blur_is_used_unless_another_is_asked_for(networks, tmp_path):
    """A wide blur brings what lies beyond the heatmap's border to the fake network's peaks, and moves them."""
    picture, _ = scene()
    plain = write_model(tmp_path / "plain")
    blurring = write_model(tmp_path / "blurring", decoder={"method": "soft-argmax", "beta": BETA, "blur": 2.0})

    def poses(folder, **options):
        return PoseEstimator(folder, detector=None, **options)(picture, BOXES)

    assert_same(poses(blurring), poses(plain, blur=2.0))
    assert_same(poses(blurring, blur=0), poses(plain))
    assert_same(poses(blurring, blur=1.0), poses(plain, blur=1.0))
    assert_same(poses(blurring, blur=4.0), poses(plain, blur=4.0))
    results = [poses(plain).keypoints, poses(blurring).keypoints, poses(blurring, blur=4.0).keypoints]
    assert all(np.abs(one - other).max() > 1e-3 for one, other in combinations(results, 2))


def test_a_model_of_another_skeleton_gives_its_keypoints(monkeypatch, tmp_path):
    runtime = FakeRuntime(peaks(np.column_stack([np.linspace(4, 19, 16), np.full(16, 20.0)]), (24, 32)))
    monkeypatch.setattr(runtimes, "load", lambda *_: runtime)
    picture, _ = scene()
    folder = write_model(tmp_path / "mpii", skeleton="mpii-16")
    for flip_test in (False, True):
        result = PoseEstimator(folder, detector=lambda _: BOXES, flip_test=flip_test)(picture)
        assert (result.skeleton.name, result.keypoints.shape[1:]) == ("mpii-16", (16, 2))
        assert result.to_skeleton("coco-17").keypoints.shape == (len(result), 17, 2)


def test_decoder_overrules_the_cards(make):
    picture, _ = scene()
    soft, quarter = (make(decoder=method)(picture).keypoints for method in ("soft-argmax", "quarter-offset"))
    assert_same(make()(picture), make(decoder="soft-argmax")(picture))
    assert not np.array_equal(soft, quarter)


def test_flip_test_looks_twice(make, networks):
    make(flip_test=True)(scene()[0])
    assert networks[0].batches == [1, 1]


# Life


def test_a_call_changes_no_setting(make):
    picture, _ = scene()
    estimator = make(detector=lambda _: BOXES, flip_test=True)
    fakes = (FakePose, type(lambda: 0))
    before = {name: copy.copy(value) for name, value in vars(estimator).items() if not isinstance(value, fakes)}
    first = estimator(picture)
    estimator(picture, boxes=BOXES[:1])
    estimator.batch([picture, picture], [None, BOXES])
    after = {name: value for name, value in vars(estimator).items() if not isinstance(value, fakes)}
    assert after == before
    assert_same(estimator(picture), first)


def test_threads_may_share_an_estimator(make):
    pictures = [scene(BOXES[:count], (200 + 20 * count, 220))[0] for count in (1, 2, 3)] * 4
    estimator = make(detector=lambda picture: BOXES[: (picture.shape[1] - 200) // 20])
    expected = [estimator(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(expected, pool.map(estimator, pictures), strict=True):
            assert_same(alone, together)


def test_boxes_without_end_are_not_waited_for(make):
    with pytest.raises(InvalidInputError, match="1 pictures but more entries of boxes"):
        make(detector=None).batch([scene()[0]], repeat(None))


def test_a_closed_estimator_says_so(make):
    estimator = make(detector=lambda _: [])
    estimator.close()
    for call in (lambda: estimator(scene()[0]), lambda: estimator.batch([scene()[0]])):
        with pytest.raises(MobilePoseError, match="was closed; make a new one"):
            call()


def test_leaving_the_context_frees_both_models(networks, tmp_path):
    pose, detector = write_model(tmp_path / "pose"), write_model(tmp_path / "detector", kind="detector")
    with PoseEstimator(pose, detector=detector) as estimator:
        assert [network.closed for network in networks] == [False, False]
    assert [network.closed for network in networks] == [True, True]
    estimator.close()  # once more does no harm


def test_result_boxes_cover_the_people(make):
    picture, _ = scene()
    result = make()(picture, boxes=BOXES)
    reach = np.concatenate([result.keypoints.min(axis=1), result.keypoints.max(axis=1)], axis=1)
    assert (iou_matrix(reach + [-1, -1, 1, 1], result.boxes).argmax(axis=1) == np.arange(3)).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_an_estimator_is_not_copied_but_made_anew(make, copied):
    with pytest.raises(InvalidTypeError, match=r"make one there, as examples/workers\.py"):
        copied(make())
