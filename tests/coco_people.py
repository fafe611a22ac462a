"""COCO keypoint files of drawn-up people, and an estimator that knows them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from fakes import make_card

from mobilepose_sdk.evaluation import evaluate_poses
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17, MPII_16

WIDTH, HEIGHT = 320, 240
BOXES = np.array([[30, 20, 90, 130], [180, 60, 280, 220]], dtype=np.float32)


def layout(box) -> np.ndarray:
    """(17, 2) keypoints spread over a box."""
    share = np.random.default_rng(3).uniform(0.1, 0.9, (17, 2))
    return box[:2] + share * (np.array(box[2:]) - box[:2])


def entry(number: int, image_id: int, box, **changes) -> dict:
    x1, y1, x2, y2 = map(float, box)
    keypoints = np.column_stack([layout(np.array(box)), np.full(17, 2)])
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": keypoints.ravel().tolist(),
        **changes,
    }


def dataset(folder: Path, **changes) -> Path:
    """Three pictures, by two sources: two people, one person, nobody."""
    people = [entry(1, 10, BOXES[0]), entry(2, 10, BOXES[1]), entry(3, 20, BOXES[1])]
    sources = {10: "beach", 20: "street", 30: "street"}
    (folder / "images").mkdir()
    for image_id in sources:
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT, "source": s}
            for i, s in sources.items()
        ],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
        **changes,
    }
    (folder / "people.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "people.json"


class Knowing:
    """An estimator that answers every box, or what it ``sees`` in a picture, with the annotated pose, moved."""

    card = make_card()

    def __init__(self, sees=None, moved: float = 0.0) -> None:
        self.sees, self.moved = sees or {}, moved

    def batch(self, images, boxes=None):
        boxes = [self.sees.get(path.name, np.zeros((0, 4))) for path in images] if boxes is None else boxes
        return [self.result(np.asarray(given)) for given in boxes]

    def result(self, boxes):
        n = len(boxes)
        keypoints = np.array([layout(box) for box in boxes]).reshape(n, 17, 2) + self.moved
        return PoseResult(keypoints, np.ones((n, 17)), boxes, np.full(n, 0.9), (WIDTH, HEIGHT), COCO_17)


def evaluate(file, estimator, **options):
    return evaluate_poses(estimator, file, file.parent / "images", **options)


def scattered(folder: Path, skeleton=COCO_17, pictures: int = 5) -> tuple[Path, Path]:
    """An annotation file of people of all sizes, and a results file of mixed quality, some of it wrong or missing."""
    rng, k = np.random.default_rng(7), len(skeleton)
    people, results = [], []
    for image_id in range(1, pictures + 1):
        for _ in range(4):
            box = np.concatenate([low := rng.uniform(0, 300, 2), low + rng.uniform(20, 250, 2)])
            points = np.column_stack([rng.uniform(box[:2], box[2:], (k, 2)), rng.integers(0, 3, k)])
            changes = {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
            people.append(entry(len(people) + 1, image_id, box, **changes))
            for _ in range(rng.integers(0, 3)):
                found = points + [[*rng.normal(0, 8 * rng.random(), 2), 0]]
                results.append(
                    {"image_id": image_id, "category_id": 1, "keypoints": found.ravel().tolist(), "score": rng.random()}
                )
    images = [{"id": i, "file_name": f"{i}.png", "width": 640, "height": 480} for i in range(1, pictures + 1)]
    categories = [{"id": 1, "name": "person", "keypoints": list(skeleton.names)}]
    content = {"images": images, "annotations": people, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "found.json").write_text(json.dumps(results), encoding="utf-8")
    return folder / "truth.json", folder / "found.json"


def sixteen(box) -> np.ndarray:
    """(16, 2): the fake person of :func:`layout`, in MPII's order; the neck and the top of the head anywhere."""
    result = Knowing().result(np.array([box])).to_skeleton(MPII_16)
    return np.nan_to_num(result.keypoints[0], nan=float(box[0]))


def mpii(folder: Path, names=MPII_16.names, **changes) -> Path:
    people = []
    for number, (image_id, box) in enumerate([(10, BOXES[0]), (20, BOXES[1])], 1):
        points = np.column_stack([sixteen(box), np.full(16, 2)]).ravel().tolist()
        people.append(entry(number, image_id, box, keypoints=points, num_keypoints=16, **changes))
    return dataset(folder, annotations=people, categories=[{"id": 1, "name": "person", "keypoints": list(names)}])
