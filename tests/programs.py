"""The ``mobilepose`` program with an estimator that finds one person, who fills the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fakes import make_card

from mobilepose_sdk.cli import COMMANDS
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17

WRONG_USAGE = 2


def stand_in(monkeypatch, open_estimator) -> None:
    """Every command opens this instead of an estimator."""
    for command in COMMANDS:
        if hasattr(command, "open_estimator"):
            monkeypatch.setattr(command, "open_estimator", open_estimator)


class Standing:
    """The estimator: of whole pictures it makes one person, of boxes one person each."""

    workers = 1
    card = make_card()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def __call__(self, picture, boxes=None):
        height, width = picture.shape[:2]
        box = np.array([[0, 0, width, height]]) if boxes is None else np.asarray(boxes)
        keypoints = np.linspace(box[:, :2], box[:, 2:], 17).transpose(1, 0, 2)
        n = len(box)
        return PoseResult(keypoints, np.ones((n, 17)), box, np.full(n, 0.75), (width, height), COCO_17)

    def batch(self, images, boxes):
        return [self(cv2.imread(str(path)), given) for path, given in zip(images, boxes, strict=True)]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
