"""Streams of an estimator: videos, folders and cameras in, poses out."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from walkers import Camera, Detector, find, frame

import mobilepose_sdk
import mobilepose_sdk.frames
from mobilepose_sdk import live
from mobilepose_sdk.errors import (
    InvalidInputError,
    InvalidTypeError,
    MobilePoseError,
    SourceLostError,
    SourceNotFoundError,
)
from mobilepose_sdk.streaming import PoseStream
from mobilepose_sdk.video_writer import VideoWriter

# What comes out


def test_a_stream_finds_people_where_a_call_does(make):
    estimator, clip = make(), [frame((60 + 2 * t, 100)) for t in range(20)]
    for picture, result in zip(clip, estimator.stream(clip, smoothing=None)):
        np.testing.assert_allclose(result.keypoints, estimator(picture).keypoints, atol=1.5)


def test_a_person_keeps_a_number_and_another_gets_another(make):
    clip = [frame((60 + 3 * t, 100), (260 - 3 * t, 60)) for t in range(15)]
    for result in make().stream(clip):
        assert result.track_ids.tolist() == [0, 1]


def test_beside_the_result_stand_its_frame_and_time(make, walk):
    stream = make().stream(walk, fps=10)
    for index, _ in enumerate(stream):
        np.testing.assert_array_equal(stream.frame, walk[index])
        assert (stream.index, stream.dropped) == (index, 0)
        assert stream.timestamp == pytest.approx(index / 10)
        assert stream.latency > 0
    assert stream.fps > 0
    assert (stream.total, stream.live, stream.source_fps) == (20, False, 10)


def test_a_result_can_be_drawn_onto_its_frame(make, walk):
    stream = make().stream(walk)
    assert next(stream).plot(stream.frame).shape == stream.frame.shape


def test_there_is_no_frame_before_the_first_result(make, walk):
    with pytest.raises(MobilePoseError, match="no frame yet"):
        _ = make().stream(walk).frame


def test_nobody_is_an_empty_result_and_the_stream_goes_on(make):
    counts = [len(result) for result in make().stream([frame(), frame((100, 100)), frame()])]
    assert counts == [0, 1, 0]


def test_a_video_file_gives_a_result_a_frame(make, walk, tmp_path):
    with VideoWriter(tmp_path / "walk.mp4", 25.0) as writer:
        for index, picture in enumerate(walk):
            writer.write(picture, index / 25)
    results = list(make().stream(tmp_path / "walk.mp4"))
    assert [result.track_ids.tolist() for result in results] == [[0]] * 20


def test_a_stream_may_be_read_one_by_one(make, walk):
    stream = make().stream(walk)
    assert len(next(stream)) == len(next(stream)) == 1
    assert stream.index == 1


def test_two_streams_of_one_estimator_do_not_mix(make):
    estimator = make()
    first, second = estimator.stream([frame((60, 100))] * 3), estimator.stream([frame((250, 90))] * 3)
    for _ in range(3):
        assert next(first).boxes[0, 0] < 100 < next(second).boxes[0, 0]


# Tracking and smoothing


def test_smoothing_is_on_for_streams_and_off_for_pictures(make):
    clip = [frame((100, 100)), frame((103, 100))]
    estimator = make()
    smooth, bare = (list(estimator.stream(clip, **o))[1].keypoints for o in ({}, {"smoothing": None}))
    assert (bare - smooth)[0, :, 0].min() > 0.5
    np.testing.assert_allclose(estimator(clip[1]).keypoints, bare, atol=0.5)


def test_without_tracking_every_frame_is_a_call(make):
    clip = [frame((60, 100), (200, 90)), frame((61, 100))]
    estimator = make()
    for picture, result in zip(clip, estimator.stream(clip, tracking=None)):
        assert result.track_ids is None
        np.testing.assert_array_equal(result.keypoints, estimator(picture).keypoints)


def test_detection_runs_every_n_frames(make, walk):
    detector = Detector()
    list(make(detector=detector).stream(walk, detect_every=8))
    assert detector.calls == 3


def test_detection_runs_in_every_frame_while_nobody_is_known(make):
    detector = Detector()
    list(make(detector=detector).stream([frame()] * 5, detect_every=100))
    assert detector.calls == 5


def test_detection_runs_when_somebody_was_lost_and_stops_when_they_are_back(make):
    detector = Detector()
    here, gone = frame((100, 100)), frame()
    results = list(make(detector=detector).stream([here] * 5 + [gone] * 3 + [here] * 5, detect_every=100))
    assert detector.calls == 1 + 3
    assert results[-1].track_ids.tolist() == [0]


def test_somebody_who_comes_in_is_found_with_the_next_detection(make):
    clip = [frame((60, 100))] * 3 + [frame((60, 100), (250, 90))] * 9
    counts = [len(result) for result in make().stream(clip, detect_every=5)]
    assert counts == [1] * 5 + [2] * 7


def test_a_detected_person_who_is_followed_already_is_not_looked_at_twice(make):
    class Wide(Detector):
        def __call__(self, picture):
            return super().__call__(picture) + np.array([-3, -3, 3, 3])

    clip = [frame((60 + 2 * t, 100)) for t in range(12)]
    assert {len(result) for result in make(detector=Wide()).stream(clip, detect_every=1)} == {1}


def test_people_are_looked_for_once_a_frame(make, network):
    """A box of a detector is not needed where a followed one is."""

    def whole_body(picture):
        """As the followed boxes are: about the keypoints."""
        boxes = find(picture)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.concatenate([middles - (16, 4), middles + (16, 4)], axis=1)

    list(make(detector=whole_body).stream([frame((100, 100))] * 6, detect_every=1))
    assert network.batches == [1] * 6


def test_somebody_who_walks_out_of_the_picture_is_let_go(make):
    clip = [frame((260 + 6 * t, 100)) for t in range(40)]
    results = list(make().stream(clip))
    assert len(results[0]) == 1
    assert len(results[-1]) == 0


def test_without_a_detector_the_whole_picture_is_one_person(make, walk):
    results = list(make(detector=None).stream(walk))
    assert {tuple(result.track_ids.tolist()) for result in results} == {(0,)}


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_detect_every_must_count_frames(make, count):
    with pytest.raises(InvalidInputError, match="detect_every"):
        make().stream([], detect_every=count)


# Leaving


class Reader:
    """A source that notices when it is closed."""

    fps, total, live, dropped = 30.0, None, False, 0

    def __init__(self, frames=()):
        self.closed, self._frames = False, iter(frames)

    def read(self):
        return next(self._frames, None)

    def close(self):
        self.closed = True


def endless():
    index = 0
    while True:
        yield mobilepose_sdk.frames.Frame(frame(), index, float(index), 0.0)
        index += 1


def test_leaving_the_loop_lets_go_of_the_source():
    reader = Reader(endless())
    for _ in PoseStream(reader, lambda image, time: None):
        break
    assert reader.closed


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_the_loop_lets_go_of_the_source(error):
    reader = Reader(endless())
    with pytest.raises(error):
        for _ in PoseStream(reader, lambda image, time: None):
            raise error
    assert reader.closed


def test_an_error_of_the_estimate_lets_go_of_the_source():
    def estimate(image, time):
        raise MobilePoseError("closed")

    reader = Reader(endless())
    with pytest.raises(MobilePoseError):
        next(PoseStream(reader, estimate))
    assert reader.closed


def test_the_end_and_with_let_go_of_the_source():
    reader = Reader()
    assert list(PoseStream(reader, lambda image, time: None)) == []
    assert reader.closed
    reader = Reader(endless())
    with PoseStream(reader, lambda image, time: None) as stream:
        next(stream)
        assert not reader.closed
    assert reader.closed


def test_a_source_that_is_none_is_an_error_at_once(make):
    with pytest.raises(SourceNotFoundError):
        make().stream("nowhere.mp4")


@pytest.mark.parametrize("option", [{"tracking": True}, {"tracking": False}, {"smoothing": False}, {"smoothing": "no"}])
def test_rules_are_their_settings_or_none(make, option):
    with pytest.raises(InvalidTypeError, match=rf"{next(iter(option))} is \w+\(\.\.\.\), or None"):
        make().stream([frame()], **option)


# Cameras


def test_the_newest_frame_of_a_camera_is_taken_and_the_others_are_counted(make, camera):
    camera(*[frame((60 + 10 * t, 100)) for t in range(6)])
    stream = make().stream(0)
    assert Camera.opened[0].stalled.wait(10)
    result = next(stream)
    assert (stream.index, stream.dropped, stream.live) == (5, 5, True)
    assert result.keypoints[0, 0, 0] == pytest.approx(110, abs=2)
    stream.close()


def test_a_camera_that_stalls_ends_the_stream(make, camera):
    camera(frame((100, 100)))
    stream = make().stream(0, timeout=0.2)
    assert len(next(stream)) == 1
    with pytest.raises(SourceLostError, match="camera 0 has given no frame for 0.2 s"):
        next(stream)
    assert list(stream) == []


def test_a_stream_that_another_thread_closes_ends_at_once(make, camera):
    camera(frame((100, 100)))
    stream = make().stream(0, timeout=60)
    next(stream)
    closing = threading.Timer(0.2, stream.close)
    closing.start()
    assert list(stream) == []
    closing.join()


def test_a_camera_that_goes_away_is_opened_again_a_few_times(make, camera):
    camera(frame((100, 100)), False, unavailable=10)
    stream = make().stream(3)
    next(stream)
    with pytest.raises(SourceLostError, match="camera 3 went away"):
        next(stream)
    assert [one.source for one in Camera.opened] == [3] * (1 + live.ATTEMPTS)


def test_a_camera_that_comes_back_goes_on(make, camera):
    camera(frame((100, 100)), False, frame((104, 100)), unavailable=2)
    stream = make().stream(0)
    first = next(stream)
    last = next(stream) if stream.index == 0 else first
    assert first.track_ids.tolist() == [0]
    assert last.track_ids.tolist() == [0]
    assert len(Camera.opened) == 1 + 3
    stream.close()


def test_a_lost_camera_is_released(make, camera):
    camera(frame(), False, unavailable=10)
    with pytest.raises(SourceLostError):
        list(make().stream(0))
    assert all(one.released.is_set() for one in Camera.opened)


def test_leaving_the_loop_releases_the_camera(make, camera, monkeypatch):
    monkeypatch.setattr(live, "LONGEST_JOIN", 10.0)
    camera(*[frame()] * 10**5)
    for _ in make().stream(0):
        break
    assert Camera.opened[0].released.is_set()


def test_a_camera_that_is_not_there(make, camera, monkeypatch):
    camera()
    monkeypatch.setattr(Camera, "isOpened", lambda self: False)
    with pytest.raises(SourceNotFoundError, match="no camera 7"):
        make().stream(7)


def test_no_camera_has_a_number_beyond_all_bounds(make):
    with pytest.raises(SourceNotFoundError, match="no camera 1000000000000"):
        make().stream(10**12)


@pytest.mark.parametrize("timeout", [1e-6, 3e6, 1e300])
def test_a_very_short_or_long_patience_is_one_that_opencv_and_threads_know(make, camera, monkeypatch, timeout):
    limits = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda source, kind, given: limits.extend(given[1::2]) or Camera(source))
    camera(frame((100, 100)))
    stream = make().stream("rtsp://10.0.0.1/live", timeout=timeout)
    assert Camera.opened[0].stalled.wait(10)
    assert len(next(stream)) == 1
    stream.close()
    assert all(0 < limit < 2**31 for limit in limits)


def test_passwords_in_addresses_are_not_shown(make, camera, monkeypatch):
    camera()
    monkeypatch.setattr(Camera, "isOpened", lambda self: False)
    with pytest.raises(SourceNotFoundError, match="rtsp://10.0.0.1/live") as caught:
        make().stream("rtsp://admin:secret@10.0.0.1/live")
    assert "secret" not in str(caught.value)


def test_an_address_is_a_live_source(make, camera):
    camera(frame((100, 100)))
    stream = make().stream("rtsp://10.0.0.1/live")
    assert stream.live
    assert len(next(stream)) == 1
    stream.close()
