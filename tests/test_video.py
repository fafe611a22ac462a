"""Frames from videos, folders and iterables."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
import pytest
from moving_video import PHOTOGRAPH, SIZE, STEP, frames_of, moving_photograph
from PIL import Image

from mobilepose_sdk.errors import (
    InvalidInputError,
    InvalidTypeError,
    MobilePoseError,
    OutputError,
    SourceNotFoundError,
    SourceReadError,
)
from mobilepose_sdk.frames import frame_rate
from mobilepose_sdk.sources import read_picture
from mobilepose_sdk.video import PictureReader, VideoReader, open_source
from mobilepose_sdk.video_damage import is_cut_short
from mobilepose_sdk.video_writer import CODECS


@pytest.fixture
def video(tmp_path):
    """Writes a video of the moving photograph with OpenCV; returns its path."""

    def write(name="clip.avi", frames=20, fps=25.0):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), fps, SIZE)
        assert writer.isOpened()
        for frame in moving_photograph(frames):
            writer.write(frame)
        writer.release()
        return path

    return write


def motion(first, second):
    """Pixels by which the content of two frames differs, to the right and down."""
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image in (first, second)]
    return np.array(cv2.phaseCorrelate(*grey, cv2.createHanningWindow(SIZE, cv2.CV_32F))[0])


# Video files


@pytest.mark.parametrize("name", [f"clip{suffix}" for suffix in CODECS])
def test_every_frame_of_a_file_comes_once_and_in_order(video, name):
    frames = frames_of(video(name))
    assert [frame.index for frame in frames] == list(range(20))
    for before, after in pairwise(frames):
        np.testing.assert_allclose(motion(before.image, after.image), [-STEP, 0], atol=0.5)


def test_frames_are_pictures_of_the_video(video):
    found = frames_of(video())[7].image
    assert found.shape == (SIZE[1], SIZE[0], 3)
    assert np.abs(found.astype(int) - moving_photograph()[7]).mean() < 8


def test_times_follow_from_the_frame_rate_of_the_file(video):
    frames = frames_of(video(fps=25.0))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(20) / 25, atol=1e-3)


@pytest.mark.parametrize(
    ("announced", "known"), [(25.0, 25.0), (240.0, 240.0), (0.0, 30.0), (1000.0, 30.0), (9e4, 30.0)]
)
def test_a_clock_is_no_frame_rate(announced, known):
    """OpenCV says 1000 of the WebM files that browsers record."""

    class Capture:
        def get(self, what):
            assert what == cv2.CAP_PROP_FPS
            return announced

    assert frame_rate(Capture()) == known


@pytest.mark.parametrize("name", ["uneven.gif", "uneven.webp", "uneven.apng"])
def test_an_animation_gives_every_frame_with_its_true_time(tmp_path, name):
    path = tmp_path / name
    pictures = [Image.fromarray(frame[:, :, ::-1]) for frame in moving_photograph(4)]
    kind = "PNG" if name.endswith("png") else None
    pictures[0].save(path, kind, save_all=True, append_images=pictures[1:], duration=[100, 500, 200, 100])
    frames = frames_of(path)
    np.testing.assert_allclose([frame.timestamp for frame in frames], [0, 0.1, 0.6, 0.8], atol=0.011)
    np.testing.assert_allclose(motion(frames[2].image, frames[3].image), [-STEP, 0], atol=0.5)


@pytest.mark.parametrize("name", ["cut.webp", "cut.apng"])
def test_an_animation_that_is_cut_short_says_which_file_and_where(tmp_path, name):
    path = tmp_path / name
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]
    pictures[0].save(path, "PNG" if name.endswith("png") else None, save_all=True, append_images=pictures[1:])
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(SourceReadError, match=name):
        frames_of(path)


def test_frames_of_an_animation_follow_each_other_although_it_gives_no_times(tmp_path):
    path = tmp_path / "hasty.webp"
    pictures = [Image.fromarray(frame) for frame in moving_photograph(3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=0)
    np.testing.assert_allclose([frame.timestamp for frame in frames_of(path)], np.arange(3) / 30)


@pytest.mark.parametrize("name", ["uneven.webp", "uneven.apng"])
def test_an_animations_rate_is_that_of_its_shortest_frames(tmp_path, name):
    path = tmp_path / name
    pictures = [Image.fromarray(frame[:, :, ::-1]) for frame in moving_photograph(5)]
    kind = "PNG" if name.endswith("png") else None
    pictures[0].save(path, kind, save_all=True, append_images=pictures[1:], duration=[2000, 40, 80, 40, 40])
    reader = open_source(path)
    assert reader.fps == pytest.approx(25)
    assert reader.read().timestamp == 0
    assert reader.read().timestamp == pytest.approx(2)
    reader.close()


def test_a_picture_for_programs_that_know_no_animations_is_no_frame(tmp_path):
    pictures = [Image.fromarray(frame[:, :, ::-1]) for frame in moving_photograph(4)]
    path = tmp_path / "default.apng"
    rest = {"save_all": True, "append_images": pictures[1:], "default_image": True, "duration": 40}
    pictures[0].save(path, "PNG", **rest)
    frames = frames_of(path)
    assert len(frames) == open_source(path).total == 3
    np.testing.assert_array_equal(frames[0].image, moving_photograph(4)[1])


def test_times_rise_although_the_file_says_otherwise(video, monkeypatch):
    reader = VideoReader(str(video(fps=10.0)))
    said = iter([0.0, 100.0, 100.0, 50.0, 300.0])
    real = reader._capture

    class Confused:
        def read(self):
            return real.read()

        def get(self, what):
            return next(said)

        def release(self):
            real.release()

    reader._capture = Confused()
    times = [reader.read().timestamp for _ in range(5)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", ["c 100% %d [1].avi", "видео.avi", "clip_0001.avi"])
def test_names_are_taken_as_they_are(video, tmp_path, name):
    path = video()
    assert len(frames_of(path.rename(tmp_path / name))) == 20


def test_a_path_may_be_bytes_inside(video):
    class Named:
        def __fspath__(self):
            return os.fsencode(path)

    path = video()
    assert len(frames_of(Named())) == 20


def test_a_turned_video_comes_upright(video):
    """A phone's video says in its header by how much it is turned."""
    path = video("clip.mp4")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one = 0x10000
    quarter_turn = [0, one, 0, -one & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000]
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in quarter_turn)
    upright = frames_of(path)[0].image
    path.write_bytes(content)
    turned = frames_of(path)[0].image
    np.testing.assert_array_equal(turned, cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE))


def test_after_the_end_there_is_nothing(video):
    reader = open_source(video())
    while reader.read() is not None:
        pass
    assert reader.read() is None


def test_a_closed_reader_gives_nothing_more(video):
    reader = open_source(video())
    reader.read()
    reader.close()
    reader.close()
    assert reader.read() is None


class Slow:
    """A capture or an animation that waits in the middle of a frame."""

    def __init__(self, inner, method, release):
        self._inner, self._method, self._release = inner, method, release
        self.reading, self.go_on, self.released_too_early = threading.Event(), threading.Event(), None

    def __getattr__(self, name):
        if name == self._method:
            self.reading.set()
            assert self.go_on.wait(10)
        if name == self._release:
            self.released_too_early = not self.go_on.is_set()
        return getattr(self._inner, name)


@pytest.mark.parametrize("name", ["moving.mp4", "moving.webp"])
def test_a_reader_that_reads_is_closed_after_that(video, tmp_path, monkeypatch, name):
    """Where FFmpeg's decoder is released in the middle of a frame, the process ends."""
    if name.endswith("mp4"):
        reader = open_source(video())
        slow = Slow(reader._capture, "read", "release")
        monkeypatch.setattr(reader, "_capture", slow)
    else:
        pictures = [Image.fromarray(frame) for frame in moving_photograph(3)]
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        reader = open_source(tmp_path / name)
        slow = Slow(reader._image, "seek", "close")
        monkeypatch.setattr(reader, "_image", slow)
        monkeypatch.setattr("mobilepose_sdk.video.read_picture", lambda *_, **__: moving_photograph(1)[0])
    with ThreadPoolExecutor(2) as threads:
        frame = threads.submit(reader.read)
        assert slow.reading.wait(10)
        closed = threads.submit(reader.close)
        time.sleep(0.05)
        assert slow.released_too_early is None
        slow.go_on.set()
        assert frame.result(10) is not None
        closed.result(10)
    assert slow.released_too_early is False
    assert reader.read() is None


def test_what_a_file_announces(video):
    reader = open_source(video(fps=25.0))
    assert (reader.fps, reader.total, reader.live, reader.dropped) == (25.0, 20, False, 0)


# Files that are none, or broken


def test_no_such_video(tmp_path):
    with pytest.raises(SourceNotFoundError, match="nowhere.mp4"):
        open_source(tmp_path / "nowhere.mp4")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceReadError, match="empty"):
        open_source(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes_001.avi"])
def test_a_file_that_is_no_video(tmp_path, name):
    (tmp_path / name).write_text("these are notes\n" * 100)
    with pytest.raises(SourceReadError, match="no video"):
        open_source(tmp_path / name)


def test_an_mp4_that_lost_its_end_with_the_index(video):
    path = video("clip.mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SourceReadError, match="cut short"):
        open_source(path)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
def test_a_video_that_lost_its_end_gives_what_it_has_and_then_says_so(video, name):
    path = video(name, frames=40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    reader = open_source(path)
    found = []
    with pytest.raises(SourceReadError, match=r"cut short.*after \d+ of"):
        while (frame := reader.read()) is not None:
            found.append(frame)
    assert 10 <= len(found) <= 25
    np.testing.assert_allclose(motion(found[5].image, found[6].image), [-STEP, 0], atol=0.5)
    assert reader.read() is None


def test_a_recording_that_does_not_say_how_long_it_is_just_ends(video):
    """As those that were sent while they were made."""
    path = video("clip.mkv", frames=40)
    content = path.read_bytes()
    length = content.index(b"\x18\x53\x80\x67") + 4
    path.write_bytes(content[:length] + b"\x01" + b"\xff" * 7 + content[length + 8 :])
    assert len(frames_of(path)) == 40


def test_an_avi_of_several_parts_can_lose_its_last(tmp_path):
    path = tmp_path / "long.avi"
    parts = b"".join(b"RIFF" + (96).to_bytes(4, "little") + kind + bytes(92) for kind in (b"AVI ", b"AVIX"))
    for content, cut in {parts: False, parts[:-1]: True}.items():
        path.write_bytes(content)
        assert is_cut_short(str(path)) == cut


def test_a_name_that_opencv_would_crash_on_is_refused():
    with pytest.raises(SourceReadError, match="UTF-8"):
        VideoReader("clip\udcff.avi")


def test_a_video_without_a_frame_says_so(video):
    reader = VideoReader(str(video(frames=3)))
    while reader._capture.grab():
        pass
    with pytest.raises(SourceReadError, match="no frame"):
        reader.read()


# Folders and iterables


def test_a_folder_gives_its_pictures_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 2):
        cv2.imwrite(str(tmp_path / f"frame-{number}.png"), np.full((4, 4, 3), number, np.uint8))
    frames = frames_of(tmp_path, fps=10)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    np.testing.assert_allclose([frame.timestamp for frame in frames], [0, 0.1, 0.2, 0.3])


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(SourceNotFoundError, match="no pictures"):
        open_source(tmp_path)


def test_one_picture_is_a_stream_of_one_frame():
    frames = frames_of(PHOTOGRAPH)
    np.testing.assert_array_equal(frames[0].image, read_picture(PHOTOGRAPH))
    assert len(frames) == 1


def test_any_iterable_of_pictures_loses_none_and_is_read_as_it_goes():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield np.full((4, 4, 3), taken[-1], np.uint8)

    reader = open_source(endless())
    assert [int(reader.read().image[0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    assert len(taken) == 3
    assert reader.total is None


def test_an_iterable_may_hold_paths_pil_pictures_and_arrays():
    picture = read_picture(PHOTOGRAPH)
    for frame in frames_of([PHOTOGRAPH, str(PHOTOGRAPH), picture, Image.open(PHOTOGRAPH), PHOTOGRAPH.read_bytes()]):
        assert np.abs(frame.image.astype(int) - picture).mean() < 1


def test_arrays_have_the_channel_order_that_was_said():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert frames_of([red], color="rgb")[0].image[0, 0].tolist() == [0, 0, 255]


def test_a_four_dimensional_array_is_its_frames():
    assert len(frames_of(np.zeros((3, 4, 5, 3), np.uint8))) == 3


def test_a_bad_picture_in_the_middle_says_so():
    reader = open_source([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3))])
    reader.read()
    with pytest.raises(InvalidInputError, match="uint8"):
        reader.read()


@pytest.mark.parametrize("source", [b"bytes", 1.5, None, True, np.zeros((4, 4, 3), np.uint8)], ids=repr)
def test_what_no_frames_can_come_from(source):
    with pytest.raises(InvalidTypeError):
        open_source(source)


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"timeout": -1}, {"timeout": "10"}], ids=repr)
def test_options_out_of_range(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        open_source([], **options)


def test_a_negative_camera_is_refused():
    with pytest.raises(InvalidInputError, match="index"):
        open_source(-1)


def test_errors_are_the_sdks_own():
    assert issubclass(SourceReadError, MobilePoseError) and issubclass(OutputError, OSError)


def test_a_picture_reader_can_be_closed():
    reader = PictureReader([np.zeros((2, 2, 3), np.uint8)] * 3, 3, fps=30)
    reader.close()
    assert reader.read() is None
