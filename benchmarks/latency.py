"""Median latency of the packaged models and of the whole call, in one interleaved run.

    python benchmarks/latency.py [--threads 2] [--repeats 100]

The picture is the demo's. Rows are measured in turn, so that a noisy neighbour slows all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mobilepose_sdk import PersonDetector, PoseEstimator
from mobilepose_sdk.models import list_models
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.sources import read_picture

PICTURE = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=100, help="runs per row (default: 100)")
    options = parser.parse_args()

    calls: dict[str, Callable[[], object]] = {}
    for card in list_models():
        width, height = card.input_size
        batch = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        for runtime, precisions in card.precisions.items():
            for precision in precisions:
                model = load(card, runtime, precision, options.threads, "CPU")
                calls[f"{card.name} {runtime} {precision}: network"] = lambda m=model, b=batch: m(b)  # type: ignore[misc]
    image = read_picture(PICTURE)
    height, width = image.shape[:2]
    detector = PersonDetector(threads=options.threads)
    estimator = PoseEstimator(threads=options.threads)
    box = np.array([[0, 0, width, height]], dtype=np.float32)
    calls["detector with preparation and decoding"] = lambda: detector(image)
    calls["estimator, one given box"] = lambda: estimator(image, boxes=box)
    calls["estimator, detection included"] = lambda: estimator(image)

    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(options.repeats + 5):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 5:  # the first turns warm up
                times[name].append((time.perf_counter() - start) * 1e3)
    print(f"{options.threads} threads, {options.repeats} interleaved runs, {width}×{height} picture")
    for name, measured in times.items():
        print(f"{name:45s} median {statistics.median(measured):7.2f} ms   min {min(measured):7.2f} ms")


if __name__ == "__main__":
    main()
