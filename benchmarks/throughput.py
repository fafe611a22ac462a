"""Pictures a second in throughput mode against latency mode, in one interleaved run.

    python benchmarks/throughput.py [--pictures 200] [--threads 2] [--rounds 3] [--folder FOLDER]

Without a folder the pictures are variants of the packaged sample, as encoded JPEGs: reading them is part of the work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.samples import sample_picture
from mobilepose_sdk.sources import expand_inputs, read_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="times both modes see all pictures (default: 3)")
    parser.add_argument("--folder", type=Path, help="pictures of your own")
    options = parser.parse_args()

    pictures = (_of_folder if options.folder else _variants)(options.folder, options.pictures)
    estimators = {
        "latency": PoseEstimator(threads=options.threads),
        "throughput": PoseEstimator(threads=options.threads, mode="throughput"),
    }
    seconds: dict[str, list[float]] = {mode: [] for mode in estimators}
    for estimator in estimators.values():
        estimator.batch(pictures[:16])  # warm-up: compiles the batch sizes
    people = 0
    for _ in range(options.rounds):
        for mode, estimator in estimators.items():
            start = time.perf_counter()
            people = sum(map(len, estimator.batch(pictures)))
            seconds[mode].append(time.perf_counter() - start)
    print(f"{len(pictures)} pictures, {people} people, {options.threads} threads, {options.rounds} interleaved rounds")
    rates = {mode: len(pictures) / statistics.median(taken) for mode, taken in seconds.items()}
    for mode, rate in rates.items():
        print(f"{mode:10s} {rate:6.1f} pictures/s  (rounds: {', '.join(f'{s:.2f} s' for s in seconds[mode])})")
    print(f"throughput against latency: {rates['throughput'] / rates['latency']:.2f}×")


def _of_folder(folder: Path, count: int) -> list[bytes]:
    """The first pictures of a folder, in memory: the disk is not what is measured."""
    return [path.read_bytes() for path in expand_inputs([folder]).paths[:count]]


def _variants(_: None, count: int) -> list[bytes]:
    picture = read_picture(sample_picture())
    random = np.random.default_rng(0)
    variants = []
    for _unused in range(count):
        shift = random.uniform(-40, 40, 2)
        moved = cv2.warpAffine(picture, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), picture.shape[1::-1])
        variants.append(cv2.imencode(".jpg", moved)[1].tobytes())
    return variants


if __name__ == "__main__":
    main()
