"""Pictures a second in throughput mode against latency mode, in one interleaved run.

    python benchmarks/throughput.py [--pictures 200] [--threads 2] [--rounds 3] [--folder FOLDER]

Without a folder the pictures are variants of the packaged sample, as encoded JPEGs, at its own size and at the width of
full HD: reading them is part of the work, and the larger they are, the more there is to do beside the networks.
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

FULL_HD = 1920


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="times both modes see all pictures (default: 3)")
    parser.add_argument("--folder", type=Path, help="pictures of your own")
    options = parser.parse_args()

    estimators = {
        "latency": PoseEstimator(threads=options.threads),
        "throughput": PoseEstimator(threads=options.threads, mode="throughput"),
    }
    if options.folder:
        # In memory: the disk is not what is measured.
        files = expand_inputs([options.folder]).paths[: options.pictures]
        compare(estimators, [path.read_bytes() for path in files], options.rounds)
        return
    picture = read_picture(sample_picture())
    for factor in (1.0, FULL_HD / picture.shape[1]):
        large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        print(f"JPEGs of {large.shape[1]}×{large.shape[0]}")
        compare(estimators, variants(large, options.pictures), options.rounds)


def compare(estimators: dict[str, PoseEstimator], pictures: list[bytes], rounds: int) -> None:
    """Print both modes' pictures a second, and the ratio."""
    seconds: dict[str, list[float]] = {mode: [] for mode in estimators}
    for estimator in estimators.values():
        estimator.batch(pictures[:16])  # warm-up: compiles the batch sizes
    people = 0
    for _ in range(rounds):
        for mode, estimator in estimators.items():
            start = time.perf_counter()
            people = sum(map(len, estimator.batch(pictures)))
            seconds[mode].append(time.perf_counter() - start)
    print(f"{len(pictures)} pictures, {people} people, {rounds} interleaved rounds")
    rates = {mode: len(pictures) / statistics.median(taken) for mode, taken in seconds.items()}
    for mode, rate in rates.items():
        print(f"{mode:10s} {rate:6.1f} pictures/s  (rounds: {', '.join(f'{s:.2f} s' for s in seconds[mode])})")
    print(f"throughput against latency: {rates['throughput'] / rates['latency']:.2f}×\n")


def variants(picture: np.ndarray, count: int) -> list[bytes]:
    """The picture as encoded JPEGs, each moved a little."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        x, y = random.uniform(-0.08, 0.08, 2) * picture.shape[1]
        moved = cv2.warpAffine(picture, np.array([[1, 0, x], [0, 1, y]]), picture.shape[1::-1])
        found.append(cv2.imencode(".jpg", moved)[1].tobytes())
    return found


if __name__ == "__main__":
    main()
