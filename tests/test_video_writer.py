"""Videos from frames."""

from __future__ import annotations

import tempfile

import cv2
import numpy as np
import pytest
from moving_video import SIZE, frames_of, moving_photograph

from mobilepose_sdk.errors import InvalidInputError, OutputError
from mobilepose_sdk.video_writer import CODECS, VideoWriter


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("folder", ["plain", "вывод größe"])
def test_a_written_video_can_be_read(tmp_path, suffix, folder):
    path = tmp_path / folder / f"out{suffix}"
    path.parent.mkdir()
    with VideoWriter(path, 25.0) as writer:
        for index, frame in enumerate(moving_photograph()):
            writer.write(frame, index / 25)
    found = frames_of(path)
    assert len(found) == 20
    assert np.abs(found[7].image.astype(int) - moving_photograph()[7]).mean() < 8
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_writer_that_is_interrupted_leaves_a_playable_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4", 25.0) as writer:
        for index, frame in enumerate(moving_photograph()):
            if index == 12:
                raise KeyboardInterrupt
            writer.write(frame, index / 25)
    assert len(frames_of(tmp_path / "out.mp4")) == 12


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("fps", [1 / 3, 30000 / 1001, 66.6667, 239.983, 333.3333, 1000])
def test_any_rate_can_be_written(tmp_path, suffix, fps):
    with VideoWriter(tmp_path / f"out{suffix}", fps) as writer:
        for index, frame in enumerate(moving_photograph(3)):
            writer.write(frame, index / fps)
    assert len(frames_of(tmp_path / f"out{suffix}")) == 3


@pytest.mark.parametrize("name", ["kept.mp4", "größe.mp4", "without an ending"])
def test_a_link_stays_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    link = tmp_path / "link.mp4"
    link.symlink_to(tmp_path / name)
    with VideoWriter(link, 25.0) as writer:
        writer.write(moving_photograph(1)[0], 0.0)
    assert link.is_symlink()
    assert len(frames_of(link)) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_slow_frames_are_repeated_and_none_is_left_out(tmp_path):
    with VideoWriter(tmp_path / "out.avi", 10.0) as writer:
        for index, time in enumerate([5.0, 5.1, 5.5, 5.51, 5.52]):
            writer.write(np.full((*SIZE[::-1], 3), 50 * index, np.uint8), time)
    greys = [round(float(frame.image.mean()) / 50) for frame in frames_of(tmp_path / "out.avi")]
    assert greys == [0, 1, 1, 1, 1, 2, 3, 4]


def test_a_very_long_pause_is_cut(tmp_path):
    with VideoWriter(tmp_path / "out.avi", 5.0) as writer:
        for time in (0.0, 1e6, 1e6 + 0.2, 1e6 + 0.4):
            writer.write(np.zeros((*SIZE[::-1], 3), np.uint8), time)
    assert len(frames_of(tmp_path / "out.avi")) == 1 + 50 + 3


def test_frames_of_other_sizes_are_fitted_in(tmp_path):
    with VideoWriter(tmp_path / "out.avi", 10.0) as writer:
        for index, size in enumerate([(120, 160), (60, 80), (300, 300)]):
            writer.write(np.full((*size, 3), 200, np.uint8), index / 10)
    assert {frame.image.shape for frame in frames_of(tmp_path / "out.avi")} == {(120, 160, 3)}


@pytest.fixture
def no_space():
    """A full disk: files end after 4 kB."""
    resource = pytest.importorskip("resource", reason="Windows has no limit for files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", [*(f"out{suffix}" for suffix in CODECS), "aüs.avi"])
def test_a_full_disk_is_noticed(tmp_path, no_space, name):
    with pytest.raises(OutputError, match="frames; is the disk full"), VideoWriter(tmp_path / name, 25.0) as writer:
        for index, frame in enumerate(moving_photograph()):
            writer.write(frame, index / 25)


def test_a_frame_that_opencv_says_it_could_not_write_is_an_error_at_once(tmp_path, monkeypatch):
    class Full:
        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, *arguments):
            pass

        def isOpened(self):
            return True

        def write(self, image):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", Full)
    with pytest.raises(OutputError, match="cannot write frame 1"):
        VideoWriter(tmp_path / "out.avi", 25.0).write(np.zeros((*SIZE[::-1], 3), np.uint8), 0.0)


@pytest.mark.parametrize(("size", "fps"), [((1, 1), 25.0), ((64, 9000), 25.0), ((64, 64), 1e5)])
def test_a_size_or_rate_that_the_ending_does_not_take(tmp_path, size, fps):
    with (
        pytest.raises(OutputError, match=rf"{size[0]}×{size[1]} .*\.avi"),
        VideoWriter(tmp_path / "out.mp4", fps) as out,
    ):
        out.write(np.zeros((*size[::-1], 3), np.uint8), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_videos(tmp_path):
    with pytest.raises(InvalidInputError, match=r"\.mp4"):
        VideoWriter(tmp_path / "out.txt", 25.0)


@pytest.mark.parametrize("name", ["out.avi", "aüs.avi"])
def test_a_folder_that_is_not_there(tmp_path, name):
    with pytest.raises(OutputError, match="folder"), VideoWriter(tmp_path / "none" / name, 25.0) as writer:
        writer.write(np.zeros((*SIZE[::-1], 3), np.uint8), 0.0)


@pytest.mark.parametrize("name", ["out.avi", "aüs.avi"])
def test_a_folder_is_never_written_into(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        VideoWriter(tmp_path / name, 25.0)


def test_a_video_with_a_foreign_name_grows_in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with VideoWriter(tmp_path / "aüs.avi", 25.0) as writer:
        writer.write(np.zeros((*SIZE[::-1], 3), np.uint8), 0.0)
        assert [path.suffix for path in tmp_path.iterdir()] == [".avi"]
    assert [path.name for path in tmp_path.iterdir()] == ["aüs.avi"]


def test_a_finished_video_that_cannot_get_its_name_is_kept(tmp_path):
    with pytest.raises(OutputError, match="kept as") as caught, VideoWriter(tmp_path / "aüs.avi", 25.0) as writer:
        writer.write(np.zeros((*SIZE[::-1], 3), np.uint8), 0.0)
        (tmp_path / "aüs.avi").mkdir()
    (kept,) = tmp_path.glob("*-*.avi")
    assert str(kept) in str(caught.value)
    assert len(frames_of(kept)) == 1
