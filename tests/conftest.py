"""Fixtures of streams: an estimator of fake people, frames they walk through, a camera that plays frames."""

from __future__ import annotations

import cv2
import pytest
from fakes import FakePose, write_model
from walkers import Camera, Detector, frame

from mobilepose_sdk import PoseEstimator, live, runtimes


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
