"""Throughput mode: the same results, worked on side by side."""

from __future__ import annotations

import threading
from itertools import count

import cv2
import numpy as np
import pytest
from fakes import FakePose, paint_person, write_model

from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.cli import main
from mobilepose_sdk.errors import InvalidInputError, SourceNotFoundError
from mobilepose_sdk.samples import sample_picture
from mobilepose_sdk.sources import read_picture
from mobilepose_sdk.threads import Threads
from mobilepose_sdk.throughput import GROUP, in_groups

# Groups


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("items", [0, 1, 4, 5, 23])
def test_results_come_in_the_order_of_the_items(workers, items):
    assert list(in_groups(lambda group: [-i for i in group], range(items), workers=workers)) == [
        -i for i in range(items)
    ]


def test_groups_are_of_the_size_asked_for():
    sizes = []
    list(in_groups(lambda group: sizes.append(len(group)) or group, range(10), workers=1, size=4))
    assert sizes == [4, 4, 2]


def test_groups_are_worked_on_side_by_side():
    """Two groups that wait for each other: one after the other they would wait for ever."""
    both = threading.Barrier(2, timeout=30)
    assert list(in_groups(lambda group: [both.wait()] and group, range(2), workers=2, size=1)) == [0, 1]


def test_one_worker_is_the_callers_own_thread():
    threads = list(in_groups(lambda group: [threading.current_thread()], range(2), workers=1, size=1))
    assert threads == [threading.current_thread()] * 2


def test_opencv_keeps_to_one_thread_while_groups_are_worked_on():
    usual = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        first, second = (in_groups(lambda group: group, range(9), workers=2, size=1) for _ in range(2))
        next(first), next(second)
        assert cv2.getNumThreads() == 1
        first.close()
        assert cv2.getNumThreads() == 1  # the second is not done yet
        list(second)
        assert cv2.getNumThreads() == 3
        list(in_groups(lambda group: group, range(9), workers=1))
        with pytest.raises(ZeroDivisionError):
            list(in_groups(lambda group: [1 / 0], range(9), workers=2))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(usual)


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_taken_only_as_there_is_room(workers):
    taken = []
    results = in_groups(lambda group: group, (taken.append(i) or i for i in count()), workers=workers, size=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 2 * (2 * workers + 1)
    results.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_in_order_is_raised_after_what_came_before(workers):
    def work(group):
        if group[0] >= 6:
            raise ValueError(group[0])
        return group

    seen: list[int] = []
    with pytest.raises(ValueError, match="^6$"):
        seen.extend(in_groups(work, range(40), workers=workers, size=2))
    assert seen == list(range(6))


def test_leaving_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = in_groups(lambda group: group, count(), workers=3)
    next(results)
    results.close()
    assert threading.active_count() == before


# The estimator, with a fake network


@pytest.fixture
def make(monkeypatch, tmp_path):
    networks: list[FakePose] = []
    monkeypatch.setattr(runtimes, "load", lambda *options: networks.append(FakePose()) or networks[-1])
    folder = write_model(tmp_path / "pose")

    def build(**options):
        estimator = PoseEstimator(folder, **{"detector": None, **options})
        return estimator, networks[-1]

    return build


def pictures(number: int) -> list[np.ndarray]:
    found = []
    for index in range(number):
        picture = np.zeros((200, 220, 3), np.uint8)
        paint_person(picture, (30 + index, 20, 110 + index, 150))
        found.append(picture)
    return found


def assert_same(first, second, tolerance):
    assert len(first) == len(second)
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=0, atol=tolerance)


def test_throughput_mode_gives_what_latency_mode_gives_in_the_same_order(make):
    many = pictures(21)
    boxes = [None if i % 3 else np.array([[30.0 + i, 20, 110 + i, 150]] * (1 + i % 2)) for i in range(21)]
    (latency, _), (throughput, _) = make(), make(mode="throughput")
    for one, other in zip(latency.batch(many, boxes), throughput.batch(many, boxes), strict=True):
        assert_same(one, other, 1e-3)  # NumPy sums in another order


def test_crops_of_several_pictures_share_a_pass(make):
    estimator, network = make(mode="throughput")
    estimator.batch(pictures(4 * GROUP))
    assert network.batches == [GROUP] * 4


def test_throughput_mode_takes_single_pictures_too(make):
    picture = pictures(1)[0]
    assert_same(make(mode="throughput")[0](picture), make()[0](picture), 0)


def test_the_first_bad_picture_ends_a_batch(make):
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        make(mode="throughput")[0].batch([*pictures(9), "nowhere.jpg", *pictures(9)])


def test_files_are_read_by_the_workers(make, tmp_path):
    paths = []
    for number, picture in enumerate(pictures(10)):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (latency, _), (throughput, _) = make(), make(mode="throughput")
    for one, other in zip(latency.batch(pictures(10)), throughput.batch(paths), strict=True):
        assert_same(one, other, 1e-3)


def test_workers_are_one_for_latency_and_at_least_two_for_throughput(make):
    assert make()[0].workers == 1
    assert make(mode="throughput", threads=1)[0].workers == 2
    assert make(mode="throughput", threads=2)[0].workers == 3
    assert make(mode="throughput", threads=5)[0].workers == 7


def test_an_unknown_mode_is_refused(make):
    with pytest.raises(InvalidInputError, match="mode must be one of 'latency', 'throughput', got 'fast'"):
        make(mode="fast")


def test_the_mode_reaches_both_networks(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(runtimes, "load", lambda *options: asked.append(options[3]) or FakePose())
    detector = write_model(tmp_path / "detector", kind="detector")
    PoseEstimator(write_model(tmp_path / "pose"), detector=detector, threads=3, mode="throughput")
    assert asked == [Threads(3, "throughput")] * 2


# The packaged models


def test_the_packaged_models_agree_with_themselves_in_both_modes():
    picture = read_picture(sample_picture())
    many = [np.roll(picture, 3 * shift, axis=1) for shift in range(6)]
    with PoseEstimator(threads=2) as latency, PoseEstimator(threads=2, mode="throughput") as throughput:
        for one, other in zip(latency.batch(many), throughput.batch(many), strict=True):
            assert len(one) >= 1
            assert_same(one, other, 0.05)  # another batch size rounds in another order


# mobilepose image


@pytest.fixture
def folder(tmp_path, monkeypatch, make):
    """Nine pictures and one that is none, which are many here; the program opens the fake estimator."""
    opened = []

    def open_estimator(options):
        opened.append(getattr(options, "mode", None))
        return make(**({"mode": options.mode} if options.mode else {}))[0]

    monkeypatch.setattr("mobilepose_sdk.cli.image.open_estimator", open_estimator)
    monkeypatch.setattr("mobilepose_sdk.cli.image.MANY", 10)
    album = tmp_path / "album"
    album.mkdir()
    for number, picture in enumerate(pictures(9)):
        (album / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (album / "5b.png").write_bytes(b"no picture")
    return album, opened


def test_a_folder_is_worked_on_in_throughput_mode_and_a_bad_picture_does_not_stop_the_rest(folder, tmp_path, capsys):
    album, opened = folder
    assert main(["image", str(album), "-o", str(tmp_path / "out")]) == 1
    assert opened == ["throughput"]
    printed = capsys.readouterr()
    rows = [line.split()[0] for line in printed.out.splitlines()[2:-1]]
    assert rows == [str(album / f"{number}.png") for number in range(9)]
    assert "5b.png" in printed.err
    assert len(list((tmp_path / "out").glob("*.pose.jpg"))) == 9


def test_few_pictures_are_worked_on_one_by_one(folder, tmp_path):
    album, opened = folder
    assert main(["image", str(album / "1.png"), "-o", str(tmp_path / "out")]) == 0
    assert opened == [None]
