"""Fixtures of streams: an estimator of fake people, frames they walk through, a camera that plays frames. Of the
program: its options, pictures for it and a folder to write to. And of training: a small folder of data."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakePose, write_model
from programs import Standing, stand_in
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of six drawn people, whose keypoints are bright dots on dark pictures."""
    monkeypatch.setattr("converters.training.pictures.CACHE", tmp_path / "cache")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 7):
        points = rng.uniform(30, 130, (17, 2)).round(1)
        picture = np.full((160, 160, 3), 30, np.uint8)
        for x, y in points:
            cv2.circle(picture, (round(x), round(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": 160, "height": 160, "source": "lsp"}
            | {"all_people_annotated": True}
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [25, 25, 110, 110],
                "area": 6000,
                "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
                "num_keypoints": 17,
            }
        )
    for entry in images[3:]:
        entry["source"] = "coco2017_train2017"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    for name in ("train.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """The options that estimators were asked for; all are fake."""
    options: list = []
    stand_in(monkeypatch, lambda given: options.append(given) or Standing())
    return options


@pytest.fixture
def pictures(tmp_path):
    """Writes pictures under names; returns their paths as text."""

    def write(*names: str, size=(40, 60)) -> list[str]:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.full((*size, 3), 90, np.uint8))[1].tobytes())
        return [str(tmp_path / name) for name in names]

    return write


@pytest.fixture
def out(tmp_path):
    """A folder for what the program writes, not there yet."""
    return tmp_path / "deep" / "out"
