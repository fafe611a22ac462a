"""Streams of an estimator: videos, folders and cameras in, poses out; and ``mobilepose video``."""

from __future__ import annotations

import json
import runpy
import sys
import threading
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from fakes import FakePose, paint_person, write_model

import mobilepose_sdk
import mobilepose_sdk.frames
from mobilepose_sdk import PoseEstimator, live, runtimes
from mobilepose_sdk.cli import main, video
from mobilepose_sdk.cli.common import FAILED, OK, SOME_FAILED
from mobilepose_sdk.errors import InvalidInputError, MobilePoseError, SourceLostError, SourceNotFoundError
from mobilepose_sdk.streaming import PoseStream
from mobilepose_sdk.video_writer import VideoWriter

EXAMPLES = Path(mobilepose_sdk.__file__).resolve().parent.parent / "examples"
SIZE = (320, 200)
PERSON = np.array([60.0, 90.0])
"""Width and height of the fake people's boxes."""


def frame(*middles: tuple[float, float], size=SIZE):
    """A picture with a fake person about every point."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for middle in middles:
        paint_person(picture, (*(np.array(middle) - PERSON / 2), *(np.array(middle) + PERSON / 2)))
    return picture


def find(picture):
    """A detector of the fake people: a box about each pair of lights."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((cv2.dilate(picture, np.ones((1, 31)))[..., 0] > 60).astype("u1"))
    middles = np.array([[x + w / 2, y + h / 2] for x, y, w, h, _ in stats[1:]]).reshape(-1, 2)
    return np.concatenate([middles - PERSON / 2, middles + PERSON / 2], axis=1)


class Detector:
    """Finds fake people, and counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return find(picture)


@pytest.fixture
def make(monkeypatch, tmp_path, network):
    """Makes estimators of the fake network, with a detector of the fake people unless told otherwise."""
    monkeypatch.setattr(runtimes, "load", lambda *arguments: network)
    folder = write_model(tmp_path / "pose")
    return lambda **options: PoseEstimator(folder, **{"detector": Detector(), **options})


@pytest.fixture
def network():
    return FakePose()


@pytest.fixture
def walk():
    """Somebody who walks through twenty frames."""
    return [frame((60 + 5 * t, 100)) for t in range(20)]


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


# Cameras


class Camera:
    """In place of ``cv2.VideoCapture``: gives the frames of a script, in which False is a failure and None a stall."""

    script: ClassVar[list] = []
    opened: ClassVar[list[Camera]] = []
    unavailable: ClassVar[int] = 0

    def __init__(self, source, *settings):
        self.source, self.released = source, threading.Event()
        self.stalled = threading.Event()
        self._works = not (Camera.opened and Camera.unavailable)
        Camera.unavailable -= not self._works
        Camera.opened.append(self)

    def isOpened(self):
        return self._works

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def set(self, what, value):
        return True

    def read(self):
        picture = Camera.script.pop(0) if Camera.script else None
        if picture is None:
            self.stalled.set()
            self.released.wait(30)
            return False, None
        return picture is not False, None if picture is False else picture

    def release(self):
        self.released.set()


@pytest.fixture
def camera(monkeypatch):
    """Puts a camera with a script of frames in place of OpenCV's."""
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(live, "LONGEST_JOIN", 0.01)

    def script(*frames, unavailable=0):
        Camera.script, Camera.opened, Camera.unavailable = list(frames), [], unavailable
        return Camera

    yield script
    for one in Camera.opened:
        one.released.set()


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


# mobilepose video


@pytest.fixture
def program(make, monkeypatch):
    """Runs ``mobilepose video`` with the fake estimator."""
    monkeypatch.setattr(video, "open_estimator", lambda options: make())
    return lambda *arguments: main(["video", *map(str, arguments)])


@pytest.fixture
def clip(walk, tmp_path):
    path = tmp_path / "walk.avi"
    with VideoWriter(path, 25.0) as writer:
        for index, picture in enumerate(walk):
            writer.write(picture, index / 25)
    return path


def frames_in(path):
    capture, count = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while capture.grab():
        count += 1
    return count


def test_the_program_writes_a_video_and_a_line_a_frame(program, clip, tmp_path, capsys):
    assert program(clip, "-o", tmp_path / "new" / "out.mp4", "--json", tmp_path / "out.jsonl") == OK
    assert frames_in(tmp_path / "new" / "out.mp4") == 20
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(20))
    assert [line["time"] for line in lines] == pytest.approx(np.arange(20) / 25, abs=1e-3)
    assert {line["people"][0]["track_id"] for line in lines} == {0}
    assert "20 frames, 1 people followed" in capsys.readouterr().err


def test_the_program_prints_lines_alone_to_standard_output(program, clip, capsys):
    assert program(clip, "--json", "-") == OK
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 20


def test_ctrl_c_leaves_a_playable_file_and_whole_lines(program, clip, tmp_path, monkeypatch, capsys):
    real = PoseStream.__next__

    def interrupted(stream):
        if stream.index == 11:
            raise KeyboardInterrupt
        return real(stream)

    monkeypatch.setattr(PoseStream, "__next__", interrupted)
    assert program(clip, "-o", tmp_path / "out.mp4", "--json", tmp_path / "out.jsonl") == 130
    assert frames_in(tmp_path / "out.mp4") == 12
    assert len([json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]) == 12
    assert "12 frames" in capsys.readouterr().err


def test_a_video_that_lost_its_end_keeps_what_there_was(program, clip, tmp_path, capsys):
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    assert program(clip, "-o", tmp_path / "out.mp4") == SOME_FAILED
    assert 5 < frames_in(tmp_path / "out.mp4") < 20
    assert "cut short" in capsys.readouterr().err


def test_a_source_that_is_none_fails(program, tmp_path, capsys):
    assert program(tmp_path / "nowhere.mp4") == FAILED
    assert "no such video" in capsys.readouterr().err


def test_the_source_is_never_written_over(program, clip, capsys):
    before = clip.read_bytes()
    assert program(clip, "-o", clip) == FAILED
    assert clip.read_bytes() == before
    assert "source itself" in capsys.readouterr().err


def test_a_name_that_is_no_videos_is_refused_before_the_work(program, clip, tmp_path, capsys):
    assert program(clip, "-o", tmp_path / "out.txt") == FAILED
    assert ".mp4" in capsys.readouterr().err


def test_without_tracking_people_have_no_numbers(program, clip, capsys):
    assert program(clip, "--no-tracking", "--json", "-") == OK
    assert json.loads(capsys.readouterr().out.splitlines()[0])["people"][0]["track_id"] is None


def test_a_number_is_a_camera(program, camera, capsys):
    camera(frame((100, 100)), False, unavailable=10)
    assert program("2", "--json", "-") == SOME_FAILED
    assert Camera.opened[0].source == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert "0 dropped" in captured.err and "went away" in captured.err


def test_a_folder_named_like_a_number_is_a_folder(program, walk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("7").mkdir()
    cv2.imwrite("7/one.png", walk[0])
    assert program("7") == OK


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_show_says_so(program, clip, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert program(clip, "--show") == FAILED
    assert "no display" in capsys.readouterr().err


def headless(*arguments):
    raise cv2.error("The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support.")


def test_an_opencv_without_windows_says_so(program, clip, monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", headless)
    assert program(clip, "--show") == FAILED
    assert "opencv-python-headless" in capsys.readouterr().err


@pytest.fixture
def screen(monkeypatch):
    """A screen without a window manager: the pictures that were shown, and the key that is pressed at each."""
    shown: list = []
    keys: dict[int, int] = {}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *arguments: None)
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: shown.append("closed"))
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: keys.get(len(shown), -1))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *arguments: 1.0)
    return shown, keys


def test_show_shows_every_frame(program, clip, screen):
    shown, _ = screen
    assert program(clip, "--show") == OK
    assert len(shown) == 21
    assert shown[-1] == "closed"
    assert all(picture.shape == (SIZE[1], SIZE[0], 3) for picture in shown[:-1])


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_a_key_ends_the_show_and_leaves_a_playable_file(program, clip, screen, tmp_path, key):
    shown, keys = screen
    keys[5] = key
    assert program(clip, "--show", "-o", tmp_path / "out.mp4") == OK
    assert len(shown) == 6
    assert frames_in(tmp_path / "out.mp4") == 5


# Examples


def run_example(name, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture
def as_public(make, monkeypatch):
    monkeypatch.setattr(mobilepose_sdk, "PoseEstimator", make, raising=False)


def test_the_webcam_example_runs_on_a_video(as_public, clip, screen, monkeypatch, capsys):
    run_example("webcam.py", monkeypatch, clip)
    assert len(screen[0]) == 20
    assert "FPS" in capsys.readouterr().out
    assert len((EXAMPLES / "webcam.py").read_text(encoding="utf-8").splitlines()) <= 20


def test_the_webcam_example_runs_on_a_camera_until_q(as_public, camera, screen, monkeypatch, capsys):
    camera(*[frame((100, 100))] * 10**5)
    screen[1][3] = ord("q")
    run_example("webcam.py", monkeypatch)
    assert len(screen[0]) == 3


def test_the_pictures_example_runs(as_public, walk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, picture in zip(paths, walk):
        cv2.imwrite(str(path), picture)
    run_example("images.py", monkeypatch, *paths)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.jpg", "1.jpg"]
    assert "nose at" in capsys.readouterr().out
