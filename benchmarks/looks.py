"""What the person detector's second look finds, and what it costs.

    python benchmarks/looks.py --data DATA [--pictures 150] [--threads 2]

DATA holds train.json and dev.json (COCO keypoint format) and images/. For each source it prints the share of the
annotated people whom a box overlaps with an IoU of 0.5 at the detector's own threshold, by its first look alone and by
both, and how many boxes there are in a picture; in some, not everybody is annotated. People under 5 % of the picture's
height are left out. The detector learnt from none of these pictures but COCO's. The time is the median over the
pictures, the two taking turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import PersonDetector
from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.cli.common import table
from mobilepose_sdk.coco_files import by_image, read_annotations
from mobilepose_sdk.detection_metrics import split_people
from mobilepose_sdk.preprocessing import letterbox
from mobilepose_sdk.sources import read_picture

Array = NDArray[Any]
SMALLEST = 0.05
"""Of the picture's height, as in :func:`mobilepose_sdk.evaluation.evaluate_detector`."""


def main() -> None:
    """Print one line a source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json, dev.json and images/")
    parser.add_argument("--pictures", type=int, default=150, help="pictures a source, drawn at random (default: 150)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()

    detector = PersonDetector(threads=options.threads)
    looks: dict[str, Callable[[Array], Array]] = {
        "one": lambda picture: first_look(detector, picture),
        "both": lambda picture: detector(picture)[0],
    }
    rows, times = [], {name: list[float]() for name in looks}
    for source, pictures in by_source(options.data, options.pictures).items():
        found, boxes, people = dict.fromkeys(looks, 0), dict.fromkeys(looks, 0), 0
        for path, truth in pictures:
            picture = read_picture(path)
            people += len(truth)
            for name, look in looks.items():
                start = time.perf_counter()
                seen = look(picture)
                times[name].append((time.perf_counter() - start) * 1e3)
                found[name] += int((iou_matrix(truth, seen).max(axis=1, initial=0) >= 0.5).sum())
                boxes[name] += len(seen)
        shares = (f"{found[name] / people:.3f}" for name in looks)
        counts = (f"{boxes[name] / len(pictures):.2f}" for name in looks)
        rows.append((source, str(len(pictures)), str(people), *shares, *counts))
    columns = "recall, one look", "recall, both", "boxes a picture, one look", "boxes a picture, both"
    print(table(("source", "pictures", "people", *columns), rows))
    one, both = (statistics.median(times[name]) for name in looks)
    print(f"{options.threads} threads: one look {one:.1f} ms, both {both:.1f} ms, {both / one:.2f}x")


def first_look(detector: PersonDetector, picture: Array) -> Array:
    """Boxes (N, 4) of the people in a picture (H, W, 3), without the second look."""
    copy, scale = letterbox(picture, detector.card.input_size)
    return np.asarray(detector._people([copy])[0][0] / np.tile(scale, 2))


def by_source(data: Path, most: int) -> dict[str, list[tuple[Path, Array]]]:
    """Pictures with the boxes (N, 4) of people who count; of train.json only from sources that dev.json lacks."""
    chosen: dict[str, list[tuple[Path, Array]]] = {}
    for name in ("dev.json", "train.json"):
        content = read_annotations(data / name)
        people = by_image(content["annotations"])
        sources: dict[str, list[dict[str, Any]]] = {}
        for image in content["images"]:
            if image["source"] not in chosen and image["id"] in people:
                sources.setdefault(image["source"], []).append(image)
        for source, images in sources.items():
            order = np.random.default_rng(0).permutation(len(images))[:most]
            chosen[source] = [
                (data / "images" / image["file_name"], split_people(people[image["id"]], image["height"], SMALLEST)[0])
                for image in (images[i] for i in order.tolist())
            ]
    return chosen


if __name__ == "__main__":
    main()
