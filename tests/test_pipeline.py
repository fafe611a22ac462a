"""Top-down poses with a fake network: keypoints come back where the people are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import BETA, INPUT_SIZE, STRIDE, FakePose, FakeRuntime, make_card, paint_person, peaks

from mobilepose_sdk.pipelines.people import person_scores
from mobilepose_sdk.pipelines.top_down import TopDown
from mobilepose_sdk.skeleton import COCO_17, CROWDPOSE_14, LSP_14, MPII_16

BOXES = np.array([[40, 30, 100, 110], [150, 60, 230, 160], [20, 140, 65, 200]], dtype=np.float32)
TOLERANCE = 1.0
"""Source pixels; the fake people are drawn in whole grey levels."""


def pipeline(runtime=None, *, flip_test=False, method="soft-argmax", blur=None, skeleton=COCO_17, **card):
    return TopDown(
        card=make_card(**card),
        runtime=FakePose() if runtime is None else runtime,
        skeleton=skeleton,
        method=method,
        beta=BETA,
        blur=blur,
        flip_test=flip_test,
    )


def scene(boxes, size=(260, 220)):
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    return picture, np.array([paint_person(picture, tuple(box)) for box in boxes])


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("method", ["soft-argmax", "quarter-offset"])
def test_keypoints_are_in_source_pixels(method, flip_test):
    picture, truth = scene(BOXES)
    ((keypoints, scores),) = pipeline(method=method, flip_test=flip_test).poses([picture], [BOXES])
    assert (keypoints.shape, scores.shape) == ((3, 17, 2), (3, 17))
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(keypoints, truth, atol=TOLERANCE if method == "soft-argmax" else 2.5)
    assert (scores > 0.9).all()


def test_every_box_has_its_own_pose_in_the_order_of_the_boxes():
    picture, truth = scene(BOXES)
    order = [2, 0, 1, 0]
    ((keypoints, _),) = pipeline().poses([picture], [BOXES[order]])
    np.testing.assert_allclose(keypoints, truth[order], atol=TOLERANCE)


def test_every_picture_has_its_own_people():
    first, truth = scene(BOXES)
    empty, _ = scene([], (33, 44))
    second, second_truth = scene(BOXES[1:2], (300, 180))
    answers = pipeline().poses([first, empty, second], [BOXES, np.zeros((0, 4), np.float32), BOXES[1:2]])
    assert [keypoints.shape for keypoints, _ in answers] == [(3, 17, 2), (0, 17, 2), (1, 17, 2)]
    np.testing.assert_allclose(answers[0][0], truth, atol=TOLERANCE)
    np.testing.assert_allclose(answers[2][0], second_truth, atol=TOLERANCE)


def test_all_crops_of_all_pictures_run_in_one_go():
    runtime = FakePose()
    picture, _ = scene(BOXES)
    pipeline(runtime).poses([picture, picture], [BOXES, BOXES[:2]])
    assert runtime.batches == [5]


def test_without_people_the_network_does_not_run():
    runtime = FakePose()
    picture, _ = scene([])
    ((keypoints, scores),) = pipeline(runtime).poses([picture], [np.zeros((0, 4), np.float32)])
    assert (keypoints.shape, scores.shape) == ((0, 17, 2), (0, 17))
    assert runtime.batches == []


def test_no_pictures_give_no_poses():
    assert pipeline().poses([], []) == []


def test_a_person_partly_outside_is_placed_in_the_pictures_own_pixels():
    box = np.array([[-30, -20, 60, 90]], dtype=np.float32)
    picture, truth = scene(box)
    picture[:, :10] = 0  # only the left half, at the right of the picture's edge, is to be seen
    ((keypoints, _),) = pipeline().poses([picture], [box])
    assert keypoints[0, 5, 0] == pytest.approx(truth[0, 5, 0], abs=5)


@pytest.mark.parametrize(("color", "channel"), [("bgr", 2), ("rgb", 0)])
def test_crops_have_the_channel_order_that_the_card_names(color, channel):
    """Red is BGR's last channel and RGB's first; the blue person beside must not be seen."""
    picture = np.zeros((220, 260, 3), np.uint8)
    truth = paint_person(picture, tuple(BOXES[1]), color=(0, 0, 255))
    paint_person(picture, (150, 30, 230, 130), color=(255, 0, 0))
    ((keypoints, _),) = pipeline(FakePose(channel), color=color).poses([picture], [BOXES[1:2]])
    np.testing.assert_allclose(keypoints[0], truth, atol=TOLERANCE)


def test_the_cards_padding_is_how_much_of_the_surroundings_a_crop_shows():
    runtime = FakeRuntime(np.zeros((17, 32, 24), np.float32))
    picture = np.full((400, 400, 3), 255, np.uint8)
    picture[152:248, 164:236] = 0
    for padding in (1.0, 2.0):
        pipeline(runtime, padding=padding).poses([picture], [np.array([[164, 152, 236, 248]], np.float32)])
    tight, wide = (batch[0, :, :, 0].mean() for batch in runtime.seen)
    assert tight == pytest.approx(0, abs=5)
    assert wide == pytest.approx(255 * 3 / 4, abs=5)


def test_boxes_that_were_found_are_cropped_widely_whatever_suits_exact_ones():
    """The crop's share of surroundings: 0 of an exact box, 1 - 1 / 1.25² of a found one."""
    runtime = FakeRuntime(np.zeros((17, 32, 24), np.float32))
    picture = np.full((400, 400, 3), 255, np.uint8)
    picture[152:248, 164:236] = 0
    box = np.array([[164, 152, 236, 248]], np.float32)
    tight = replace(pipeline(runtime, padding=1.0), detector=lambda _: box)
    for boxes, exact in ((box, True), (box, False), (None, True)):
        tight([picture], [boxes], exact=exact)
    given, followed, detected = (batch[0, :, :, 0].mean() / 255 for batch in runtime.seen)
    assert given == pytest.approx(0, abs=0.02)
    assert followed == detected == pytest.approx(1 - 1 / 1.25**2, abs=0.02)


def test_flip_test_runs_every_crop_twice():
    runtime = FakePose()
    picture, _ = scene(BOXES)
    pipeline(runtime, flip_test=True).poses([picture], [BOXES])
    assert runtime.batches == [3, 3]


def test_flip_test_agrees_with_the_plain_test_for_a_network_without_errors():
    """The mirrored heatmaps lie exactly on the plain ones: neither side of a person is drawn to the other's."""
    picture, _ = scene(BOXES)
    ((plain, _),) = pipeline().poses([picture], [BOXES])
    ((flipped, _),) = pipeline(flip_test=True).poses([picture], [BOXES])
    np.testing.assert_allclose(flipped, plain, atol=0.05)


def test_flip_test_averages_the_heatmaps_with_left_and_right_exchanged():
    """A network that always answers (8, 20), and for the left wrist (14, 20): mirrored, they are 23 - 8 and 23 - 14."""
    left_wrist, right_wrist = COCO_17.names.index("left_wrist"), COCO_17.names.index("right_wrist")
    answer = np.tile([8.0, 20.0], (17, 1))
    answer[left_wrist] = [14, 20]
    runtime = FakeRuntime(peaks(answer, (24, 32)))
    box = np.array([[0, 0, *INPUT_SIZE]], np.float32)
    ((keypoints, _),) = pipeline(runtime, flip_test=True, padding=1.0).poses([np.zeros((200, 200, 3), np.uint8)], [box])
    expected = np.tile([(8 + 15) / 2, 20], (17, 1))
    expected[left_wrist] = [(14 + 15) / 2, 20]
    expected[right_wrist] = [(8 + 9) / 2, 20]
    np.testing.assert_allclose(keypoints[0], expected * STRIDE, atol=0.1)


@pytest.mark.parametrize("skeleton", [COCO_17, CROWDPOSE_14, LSP_14, MPII_16], ids=lambda skeleton: skeleton.name)
def test_flip_test_exchanges_the_sides_of_any_skeleton(skeleton):
    """Every keypoint is seen in a column c of its own; mirrored, in 23 - c of its partner's."""
    k = len(skeleton)
    columns = np.linspace(4, 19, k)
    runtime = FakeRuntime(peaks(np.column_stack([columns, np.full(k, 20.0)]), (24, 32)))
    flipping = pipeline(runtime, flip_test=True, padding=1.0, skeleton=skeleton)
    box = np.array([[0, 0, *INPUT_SIZE]], np.float32)
    ((keypoints, scores),) = flipping.poses([np.zeros((200, 200, 3), np.uint8)], [box])
    expected = (columns + 23 - columns[skeleton.flip_indices]) / 2 * STRIDE
    assert (keypoints.shape, scores.shape) == ((1, k, 2), (1, k))
    np.testing.assert_allclose(keypoints[0, :, 0], expected, atol=0.1)


def test_heatmaps_are_blurred_before_they_are_decoded():
    """Two pixels side by side outweigh a lonely, higher one."""
    heatmaps = np.zeros((17, 32, 24), np.float32)
    heatmaps[:, 10, 5] = 1
    heatmaps[:, 20, 15:17] = 0.9
    box = np.array([[0, 0, *INPUT_SIZE]], np.float32)
    for blur, row in ((None, 10), (1.5, 20)):
        reading = pipeline(FakeRuntime(heatmaps), method="quarter-offset", blur=blur, padding=1.0)
        ((keypoints, _),) = reading.poses([np.zeros((200, 200, 3), np.uint8)], [box])
        np.testing.assert_allclose(keypoints[0, :, 1], row * STRIDE, atol=0.25 * STRIDE + 1e-3)


def test_a_persons_score_is_the_boxs_times_the_mean_of_the_confident_keypoints():
    keypoint_scores = np.array([[0.8, 0.4, 0.1, 0.05], [0.1, 0.0, -0.2, 0.1], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(person_scores(keypoint_scores, np.array([0.5, 0.9, 0.7])), [0.3, 0, 0.7], rtol=1e-6)
