"""``mobilepose video`` and the examples."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from walkers import SIZE, Camera, frame

import mobilepose_sdk
import mobilepose_sdk.frames
from mobilepose_sdk.cli import main, video
from mobilepose_sdk.cli.common import FAILED, OK, SOME_FAILED
from mobilepose_sdk.streaming import PoseStream
from mobilepose_sdk.video_writer import VideoWriter

EXAMPLES = Path(mobilepose_sdk.__file__).resolve().parent.parent / "examples"


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
    said = capsys.readouterr().err
    assert "20 frames, 1 people followed" in said
    assert {line for line in said.splitlines() if line.startswith("written")} == {
        f"written: {tmp_path / 'new' / 'out.mp4'}",
        f"written: {tmp_path / 'out.jsonl'}",
    }


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
    said = capsys.readouterr().err
    assert "12 frames" in said and "written: " in said


def test_a_video_that_lost_its_end_keeps_what_there_was(program, clip, tmp_path, capsys):
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    assert program(clip, "-o", tmp_path / "out.mp4") == SOME_FAILED
    assert 5 < frames_in(tmp_path / "out.mp4") < 20
    assert "cut short" in capsys.readouterr().err


def test_a_source_that_is_none_fails_and_leaves_older_results(program, tmp_path, capsys):
    lines = tmp_path / "out.jsonl"
    lines.write_text("{}")
    assert program(tmp_path / "nowhere.mp4", "--json", lines) == FAILED
    assert "no such video" in capsys.readouterr().err
    assert lines.read_text() == "{}"


no_addresses = pytest.mark.skipif(sys.platform == "win32", reason="FFmpeg takes no file:///C:/ there")


@pytest.mark.parametrize("name", [str, pytest.param(Path.as_uri, marks=no_addresses)])
def test_the_source_is_never_written_over(program, clip, capsys, name):
    before = clip.read_bytes()
    for output in ("-o", "--json"):
        assert program(name(clip), output, clip) == FAILED
        assert "source itself" in capsys.readouterr().err
    assert clip.read_bytes() == before


def test_the_video_and_the_lines_are_two_files(program, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert program(clip, "-o", "out.mp4", "--json", tmp_path / "out.mp4") == FAILED
    assert "two files" in capsys.readouterr().err


def test_what_could_not_be_written_is_not_said_to_be(program, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(VideoWriter, "_is_whole", lambda writer: False)
    assert program(clip, "-o", tmp_path / "out.mp4", "--json", tmp_path / "out.jsonl") == FAILED
    said = capsys.readouterr().err
    assert "disk full" in said
    assert [line for line in said.splitlines() if line.startswith("written")] == [f"written: {tmp_path / 'out.jsonl'}"]


def test_a_video_that_was_never_begun_is_not_said_to_be_written(program, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((1, 1, 3), np.uint8))
    assert program(tmp_path / "tiny.png", "-o", tmp_path / "out.mp4") == FAILED
    said = capsys.readouterr().err
    assert "1×1" in said and "written" not in said


on_full_devices = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")


@on_full_devices
def test_lines_that_cannot_be_written_are_an_error(program, clip, capsys):
    assert program(clip, "--json", "/dev/full") == FAILED
    said = capsys.readouterr().err
    assert "cannot write '/dev/full'" in said and "written" not in said


@on_full_devices
def test_a_full_standard_output_is_an_error_once(program, clip, monkeypatch, capsys):
    with open("/dev/full", "w") as full:  # closing it must not fail again
        monkeypatch.setattr(sys, "stdout", full)
        assert program(clip, "--json", "-") == FAILED
    assert "cannot write '-'" in capsys.readouterr().err


def test_a_number_beyond_all_bounds_is_no_camera(program, capsys):
    assert program(99999999999) == FAILED
    assert "no camera 99999999999" in capsys.readouterr().err


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
