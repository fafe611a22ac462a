"""The packaged person detector around a fake network."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeRuntime, distance_maps, write_model

from mobilepose_sdk import PersonDetector, runtimes
from mobilepose_sdk.errors import InvalidInputError, MobilePoseError
from mobilepose_sdk.threads import Threads
from mobilepose_sdk.throughput import GROUP

SIZE, SMALL = (320, 256), (224, 160)
INPUT_BOXES = np.array([[20, 30, 80, 150], [150, 40, 250, 200]], dtype=np.float32)
SCORES = [0.9, 0.6]
PICTURE = np.zeros((256, 320, 3), np.uint8)


class TwoLooks(FakeRuntime):
    """A detector's network that sees some people in a picture of its own size, others in the second look."""

    def __init__(self, first, second):
        super().__init__(*first)
        self.second = second

    def __call__(self, batch):
        first = super().__call__(batch)
        return first if len(self.seen) % 2 else [np.stack([output] * len(batch)) for output in self.second]


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Makes detectors whose network always finds the same boxes (of its input) in each look; and that network."""

    def detector(boxes=INPUT_BOXES, scores=SCORES, small=((), ()), color="bgr", **options):
        network = TwoLooks(distance_maps(boxes, scores, SIZE), distance_maps(*small, SMALL))
        monkeypatch.setattr(runtimes, "load", lambda *_: network)
        folder = tmp_path / f"detector{len(list(tmp_path.iterdir()))}"
        write_model(folder, kind="detector", input_size=SIZE, stride=8, color=color)
        return PersonDetector(folder, **options), network

    return detector


@pytest.mark.parametrize("factor", [1, 2, 0.5])
def test_boxes_are_in_pixels_of_the_picture(make, factor):
    picture = np.zeros((round(SIZE[1] * factor), round(SIZE[0] * factor), 3), np.uint8)
    boxes, scores = make()[0](picture)
    np.testing.assert_allclose(boxes, INPUT_BOXES * factor, rtol=1e-5)
    np.testing.assert_allclose(scores, SCORES, atol=1e-5)
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


def test_boxes_are_clipped_to_the_picture(make):
    boxes, _ = make([[-20, -10, 60, 250]], [0.9])[0](np.zeros((256, 320, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[0, 0, 60, 250]])


def test_boxes_in_the_black_beside_the_picture_are_left_out(make):
    """The picture fills the left 120 of the network's 320 columns."""
    boxes, scores = make()[0](np.zeros((512, 240, 3), np.uint8))
    np.testing.assert_allclose(boxes, INPUT_BOXES[:1] * 2, rtol=1e-5)
    assert scores.shape == (1,)


def test_the_cards_threshold_holds_unless_another_is_given(make):
    picture = np.zeros((256, 320, 3), np.uint8)
    scores = [0.9, 0.3]
    assert len(make(scores=scores)[0](picture)[0]) == 1  # the fake card says 0.4
    assert len(make(scores=scores, min_score=0.2)[0](picture)[0]) == 2
    assert len(make(scores=scores, min_score=0.95)[0](picture)[0]) == 0


@pytest.mark.parametrize(("mode", "passes"), [("latency", [1] * 2 * (GROUP + 1)), ("throughput", [GROUP, GROUP, 1, 1])])
def test_pictures_of_a_batch_share_passes_in_throughput_mode(make, mode, passes):
    detector, network = make(small=([[0, 0, 224, 160]], [0.7]), threads=Threads(2, mode))
    pictures = [np.zeros((256 * times, 320 * times, 3), np.uint8) for times in range(1, GROUP + 2)]
    found = detector.batch(pictures)
    assert [len(batch) for batch in network.seen] == passes
    for picture, (boxes, scores) in zip(pictures, found, strict=True):
        alone, sure = detector(picture)
        np.testing.assert_array_equal(boxes, alone)
        np.testing.assert_array_equal(scores, sure)
        assert boxes.max() == picture.shape[1]


def test_no_pictures_are_no_pass(make):
    detector, network = make()
    assert (detector.batch([]), network.seen) == ([], [])


@pytest.mark.parametrize("min_score", [0, 1, -0.5, 2, float("nan"), "0.5", True])
def test_a_threshold_lies_between_0_and_1(make, min_score):
    with pytest.raises(InvalidInputError, match="min_score must be a finite number above 0 and under 1"):
        make(min_score=min_score)


@pytest.mark.parametrize(("color", "seen"), [("bgr", [10, 20, 30]), ("rgb", [30, 20, 10])])
def test_the_network_sees_the_channel_order_that_its_card_names(make, color, seen):
    detector, network = make(color=color)
    detector(np.full((256, 320, 3), [10, 20, 30], np.uint8))
    assert network.seen[0].shape == (1, 256, 320, 3)
    assert network.seen[0][0, 100, 100].tolist() == seen


@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (3, 50_000)])
def test_pictures_of_any_shape_are_taken(make, shape):
    boxes, scores = make()[0](np.zeros((*shape, 3), np.uint8))
    assert len(boxes) == len(scores)
    assert (boxes >= 0).all()
    assert (boxes <= [shape[1], shape[0]] * 2).all()


def test_somebody_who_fills_the_picture_is_found_in_the_second_look(make):
    """Of a picture of 320×256 it is a copy of 224×160, 0.7 times as wide and 0.625 times as high."""
    boxes, scores = make([], [], small=([[14, 5, 56, 155], [105, 20, 154, 90]], [0.8, 0.9]))[0](PICTURE)
    np.testing.assert_allclose(boxes, [[20, 8, 80, 248]], rtol=1e-5)  # the other is 112 of 256 pixels high
    np.testing.assert_allclose(scores, [0.8], atol=1e-5)


def test_somebody_seen_in_both_looks_is_one_person(make):
    seen = np.array([[40, 20, 150, 240]])
    shrink = np.array([0.7, 0.625, 0.7, 0.625])
    boxes, scores = make(seen, [0.6], small=((seen + 1.5) * shrink, [0.9]))[0](PICTURE)
    assert len(boxes) == 1
    np.testing.assert_allclose(scores, [0.9], atol=1e-5)
    np.testing.assert_allclose(boxes[0], seen[0] + 1.5, rtol=1e-5)


def test_a_network_of_one_size_sees_the_smaller_copy_in_a_corner(make):
    detector, network = make()
    network.fixed_size = True
    detector(np.full((256, 320, 3), 200, np.uint8))
    assert [batch.shape for batch in network.seen] == [(1, 256, 320, 3)] * 2
    assert (network.seen[1][0, :160, :224] == 200).all()
    assert network.seen[1][0].sum() == 224 * 160 * 200 * 3


def test_closing_frees_the_network(make):
    detector, network = make()
    detector.close()
    assert network.closed


@pytest.mark.parametrize("nothing", [None, 5, np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_a_typed_error(make, nothing):
    with pytest.raises(MobilePoseError):
        make()[0](nothing)


def test_a_grey_picture_is_one_too(make):
    boxes, scores = make()[0](np.zeros((40, 60), np.uint8))
    assert len(boxes) == len(scores)
