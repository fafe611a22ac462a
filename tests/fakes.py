"""Networks that answer by arithmetic, model folders without a network, and pictures: the SDK around a model, tested
without one.

The fake people are two soft blobs of light, ``PEOPLE_APART`` of their box's width apart. The fake pose network finds
their centres in the crop it is given: ``left_*`` keypoints at the blob with the larger x, as for a person who faces the
camera, ``right_*`` at the other, the nose between the two.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mobilepose_sdk.decoding.distances import BINS, STRIDES
from mobilepose_sdk.errors import MobilePoseError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.skeleton import COCO_17

INPUT_SIZE = (96, 128)
STRIDE = 4
BETA = 20.0
PEOPLE_APART = 0.4
LEFT = [index for index, name in enumerate(COCO_17.names) if name.startswith("left_")]
RIGHT = [index for index, name in enumerate(COCO_17.names) if name.startswith("right_")]


def paint_person(picture: np.ndarray, box: tuple[float, float, float, float], color=(255, 255, 255)) -> np.ndarray:
    """Draw a fake person into a picture; returns the (17, 2) keypoints to be found."""
    x1, y1, x2, y2 = box
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    aside = np.array([(x2 - x1) * PEOPLE_APART / 2, 0])
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    for centre in (middle - aside, middle + aside):
        light = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * ((x2 - x1) / 20) ** 2))
        np.maximum(picture, (light[:, :, None] * color).astype(np.uint8), out=picture)
    keypoints = np.tile(middle, (17, 1))
    keypoints[LEFT] += aside
    keypoints[RIGHT] -= aside
    return keypoints


def peaks(xy: np.ndarray, size: tuple[int, int], height: Any = 1.0) -> np.ndarray:
    """Heatmaps (…, H, W) whose soft-argmax of ``BETA`` is a Gaussian of one pixel around ``xy`` (…, 2), so exact."""
    y, x = np.mgrid[: size[1], : size[0]]
    squared = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    return (np.asarray(height)[..., None, None] - squared / (2 * BETA)).astype(np.float32)


class FakePose:
    """A :class:`mobilepose_sdk.runtimes.Runtime` that sees fake people, in one channel or in all."""

    def __init__(self, channel: int | None = None) -> None:
        self.channel = channel
        self.batches: list[int] = []
        self.closed = False
        self._lock = threading.Lock()

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (INPUT_SIZE[1], INPUT_SIZE[0], 3)
        if self.closed:
            raise MobilePoseError("closed")
        with self._lock:
            self.batches.append(len(batch))
        return [np.stack([self._heatmaps(crop) for crop in batch])]

    def close(self) -> None:
        self.closed = True

    def _heatmaps(self, crop: np.ndarray) -> np.ndarray:
        light = crop.max(axis=2) if self.channel is None else crop[:, :, self.channel]
        light = np.where(light > 4, light, 0).astype(np.float64)
        middle = _centroid(light)
        x = np.arange(light.shape[1])
        keypoints = np.tile(middle, (17, 1))
        keypoints[LEFT] = _centroid(light * (x > middle[0]))
        keypoints[RIGHT] = _centroid(light * (x < middle[0]))
        size = INPUT_SIZE[0] // STRIDE, INPUT_SIZE[1] // STRIDE
        return peaks(keypoints / STRIDE, size, np.full(17, light.max() / 255))


def _centroid(light: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    total = light.sum()
    if total == 0:
        return np.array([light.shape[1] / 2, light.shape[0] / 2])
    return np.array([(x * light).sum() / total, (y * light).sum() / total])


class FakeRuntime:
    """A runtime that gives the same outputs whatever it sees, and remembers what that was."""

    fixed_size = False

    def __init__(self, *outputs: np.ndarray) -> None:
        self.outputs = outputs
        self.seen: list[np.ndarray] = []
        self.closed = False

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        self.seen.append(batch)
        return [np.stack([output] * len(batch)) for output in self.outputs]

    def close(self) -> None:
        self.closed = True


def distance_maps(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Outputs of a detector that is certain of ``boxes`` (N, 4), in input pixels, and of nothing else.

    Each is seen from the cell in its middle, on the finest map whose distances reach its sides.
    """
    maps = [np.zeros((1 + 4 * BINS, size[1] // stride, size[0] // stride), np.float32) for stride in STRIDES]
    for output in maps:
        output[0] = -20
    for box, score in zip(np.asarray(boxes, np.float64), scores):
        for output, stride in zip(maps, STRIDES):
            x1, y1, x2, y2 = box / stride
            row = min(int((y1 + y2) / 2), output.shape[1] - 1)
            column = min(int((x1 + x2) / 2), output.shape[2] - 1)
            x, y = column + 0.5, row + 0.5
            distances = np.array([x - x1, y - y1, x2 - x, y2 - y])
            if distances.max() <= BINS - 1:
                output[:, row, column] = [np.log(score / (1 - score)), *distributions(distances).ravel()]
                break
        else:
            raise ValueError(f"{box} is too large for a detector of {size}")
    return maps


def distributions(distances: np.ndarray) -> np.ndarray:
    """(4, BINS) logits whose softmax has these means: the two bins beside each share it."""
    logits = np.full((4, BINS), -40.0)
    for side, distance in enumerate(distances):
        low = min(int(distance), BINS - 2)
        logits[side, low : low + 2] = np.log(np.maximum([low + 1 - distance, distance - low], 1e-15))
    return logits


def colourful_pictures() -> list[np.ndarray]:
    """Two of different shapes, smooth and colourful."""
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8), size) for size in ((333, 500), (500, 281))]


def write_pictures(folder: Path, pictures: list[np.ndarray]) -> None:
    """Make a folder of them: ``0.png``, ``1.png`` and so on."""
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), picture)


def card_entries(kind: str = "pose", **changes: Any) -> dict[str, Any]:
    """What a ``card.json`` says, without its files."""
    entries: dict[str, Any] = {
        "name": f"fake-{kind}",
        "kind": kind,
        "summary": "for tests",
        "paper": "none",
        "licence": "Apache-2.0",
        "input_size": list(INPUT_SIZE),
        "color": "bgr",
        "stride": STRIDE,
        "outputs": [{"name": "heatmaps", "shape": [1, 17, INPUT_SIZE[1] // STRIDE, INPUT_SIZE[0] // STRIDE]}],
        "parameters": 1000,
        "macs": 2000,
    }
    own = {"skeleton": "coco-17", "decoder": {"method": "soft-argmax", "beta": BETA}}
    return {**entries, **(own if kind == "pose" else {"min_score": 0.4}), **changes}


def write_model(folder: Path, kind: str = "pose", **changes: Any) -> Path:
    """A model folder with a card and two files, ``openvino/int8.xml`` and ``.bin``, that no runtime could load."""
    files = []
    (folder / "openvino").mkdir(parents=True)
    for name in ("openvino/int8.xml", "openvino/int8.bin"):
        content = f"{kind} {name}".encode()
        (folder / name).write_bytes(content)
        files.append({"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    entries = {**card_entries(kind), "files": {"openvino": {"int8": files}}, **changes}
    (folder / "card.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def make_card(kind: str = "pose", **changes: Any) -> ModelCard:
    entries = card_entries(kind, **changes)
    return ModelCard(**{**entries, "input_size": tuple(entries["input_size"])})
