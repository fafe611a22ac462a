"""Accuracy and time of the three OKS-NMS on the same raw poses, like MobilePoseNet's Table 7.

    python benchmarks/nms.py --data DATA [--model lpn-50] [--copies 5] [--repeats 50]

DATA holds dev.json (COCO keypoint format) and images/. In every picture whose people are all annotated, each person's
box is given COPIES times, jittered, as a detector that does not merge would; a copy's score is its overlap with the
true box. What the packaged detector finds at a score of 0.05 is added. The model makes a pose of each box: these are
the raw poses. Each method then merges them as the SDK does (redundancy 0.7). AP is pycocotools'. Time is that of the
suppression alone, by the number of raw poses in a picture, on one core, the methods taking turns: each picture's
shortest of REPEATS runs, as other work on the machine only ever adds to it, and the mean over the pictures.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read when NumPy is imported

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import PersonDetector, PoseEstimator
from mobilepose_sdk.boxes import box_areas, iou_matrix
from mobilepose_sdk.cli.common import table
from mobilepose_sdk.coco_files import PoseAnnotations, read_poses, xyxy
from mobilepose_sdk.decoding.nms import METHODS, Method, oks_nms
from mobilepose_sdk.metrics import coco_average_precision
from mobilepose_sdk.pipelines.people import DUPLICATE_OKS, People
from mobilepose_sdk.skeleton import Skeleton
from mobilepose_sdk.sources import read_picture

Array = NDArray[Any]
SHOWN = ("AP", "AP50", "AP75", "AR")
COUNTS = (1, 20, 50, 100, 10_000)
"""Raw poses in a picture: lower bounds of the columns, and none beyond the last."""
LOWEST_SCORE = 0.05
JITTER = 0.08
"""Standard deviation of a copy's edges, in parts of the box's side."""


def main() -> None:
    """Print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.json and images/")
    parser.add_argument("--model", default="lpn-50", help="a top-down pose model (default: lpn-50)")
    parser.add_argument("--copies", type=int, default=5, help="boxes a person (default: 5)")
    parser.add_argument("--repeats", type=int, default=50, help="runs per picture and method (default: 50)")
    options = parser.parse_args()

    truth = read_poses(options.data / "dev.json")
    raw = raw_poses(truth, options.data / "images", options.model, options.copies)
    counts = [len(people.boxes) for people in raw.values()]
    print(f"{len(raw)} pictures, {sum(counts)} raw poses, {min(counts)} to {max(counts)} a picture")
    times = measured_times(raw, truth.skeleton, options.repeats)
    rows = [("none", *accuracy(truth, raw, None), *("" for _ in COUNTS[1:]))]
    for method in METHODS:
        rows.append((method, *accuracy(truth, raw, method), *by_count(raw, times[method])))
    print(table(("method", *SHOWN, *(f"ms, N={low}+" for low in COUNTS[:-1])), rows))


def bounds() -> list[tuple[int, int]]:
    """Lowest number of poses, and one above the highest, of each column."""
    return list(pairwise(COUNTS))


def raw_poses(truth: PoseAnnotations, images: Path, model: str, copies: int) -> dict[int, People]:
    """Unmerged poses by picture; people whose keypoints are not labelled have theirs as well."""
    rng, raw = np.random.default_rng(0), {}
    with PoseEstimator(model, detector=None) as estimator:
        detector = PersonDetector(min_score=LOWEST_SCORE)
        for image in truth.content["images"]:
            people = [one for one in truth.content["annotations"] if one["image_id"] == image["id"]]
            if not (image.get("all_people_annotated", True) and people):
                continue
            picture = read_picture(images / image["file_name"])
            boxes, scores = jittered(rng, xyxy([one for one in people if not one["iscrowd"]]), copies)
            found, found_scores = detector(picture)
            boxes, scores = np.concatenate([boxes, found]), np.concatenate([scores, found_scores])
            result = estimator(picture, boxes)
            raw[image["id"]] = People(result.boxes, scores, result.keypoints, result.keypoint_scores)
    return raw


def jittered(rng: np.random.Generator, boxes: Array, copies: int) -> tuple[Array, Array]:
    """Copies (N·copies, 4) of boxes with their edges moved, and how much each overlaps the true one."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = (boxes + rng.normal(0, JITTER, (copies, *boxes.shape)) * sides).reshape(-1, 4).astype(np.float32)
    overlaps = np.diagonal(iou_matrix(moved, np.tile(boxes, (copies, 1))))
    return moved, overlaps


def measured_times(raw: dict[int, People], skeleton: Skeleton, repeats: int) -> dict[Method, dict[int, float]]:
    """Milliseconds of each method's shortest run, by picture."""
    times: dict[Method, dict[int, float]] = {method: {} for method in METHODS}
    for image_id, people in raw.items():
        runs: dict[Method, list[float]] = {method: [] for method in METHODS}
        for _ in range(repeats):
            for method in METHODS:
                start = time.perf_counter()
                oks_nms(
                    people.keypoints,
                    people.keypoint_scores,
                    people.scores,
                    box_areas(people.boxes),
                    method=method,
                    threshold=DUPLICATE_OKS,
                    sigmas=skeleton.sigmas,
                )
                runs[method].append((time.perf_counter() - start) * 1e3)
        for method, taken in runs.items():
            times[method][image_id] = min(taken)
    return times


def by_count(raw: dict[int, People], times: dict[int, float]) -> list[str]:
    """The mean over the pictures of each column."""
    cells = []
    for low, high in bounds():
        chosen = [taken for image_id, taken in times.items() if low <= len(raw[image_id].boxes) < high]
        cells.append(f"{np.mean(chosen):.3f}" if chosen else "")
    return cells


def accuracy(truth: PoseAnnotations, raw: dict[int, People], method: Method | None) -> list[str]:
    """pycocotools' figures of the poses that a method leaves."""
    sizes = {image["id"]: (image["height"], image["width"], 3) for image in truth.content["images"]}
    results = []
    for image_id, people in raw.items():
        merged = people.merged(method, truth.skeleton)
        results += merged.result(np.empty(sizes[image_id], np.uint8), truth.skeleton).to_coco(image_id)
    stats = coco_average_precision(truth.content, results, list(raw), sigmas=truth.skeleton.sigmas)
    return [f"{stats[name]:.3f}" for name in SHOWN]


if __name__ == "__main__":
    main()
