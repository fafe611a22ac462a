"""Median milliseconds of what there is around the networks, on one core.

    python benchmarks/postprocessing.py [--repeats 200]

A 12-megapixel picture shrunk for the detector, beside a plain cv2.resize. Heatmap decoding of 8 people at 17×64×48,
OKS-NMS of 5 to 100 poses, and grouping of 10 people at 17×192×192, each person missing about a fifth of the keypoints,
so that refinement has work to do.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read when NumPy is imported

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.decoding import grouping, heatmaps, nms
from mobilepose_sdk.preprocessing import letterbox

Array = NDArray[Any]
KEYPOINTS = 17


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="runs per measurement (default: 200)")
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)

    picture = rng.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    report("shrink 4000x3000 to 384x288", partial(letterbox, picture, (384, 288)), repeats // 10)
    plain = partial(cv2.resize, picture, (384, 288), interpolation=cv2.INTER_AREA)
    report("shrink 4000x3000 to 384x288, one cv2.resize", plain, repeats // 10)
    crops = crop_heatmaps(rng, 8)
    for decoder in heatmaps.METHODS:
        report(f"decode 8x17x64x48 {decoder}", partial(heatmaps.decode, crops, decoder), repeats)
    for count in (5, 20, 50, 100):
        poses = crowd(rng, count)
        for method in nms.METHODS:
            report(f"oks_nms N={count} {method}", partial(nms.oks_nms, *poses, method=method), repeats)
    for tag_size in (1, 2):
        maps, tags = scene(rng, 10, tag_size)
        name = f"group 10 people 17x192x192 T={tag_size}"
        report(name, partial(grouping.group, maps, tags), repeats)
        report(f"{name}, refine=False", partial(grouping.group, maps, tags, refine=False), repeats)


def report(name: str, call: Callable[[], object], repeats: int) -> None:
    """Time ``call`` and print the median and the minimum."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    print(f"{name:<48} median {np.median(times):7.3f} ms   min {min(times):7.3f} ms")


def blob(size: tuple[int, int], x: float, y: float, sigma: float = 2.0) -> Array:
    """(H, W) Gaussian of height 1."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.asarray(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)), dtype=np.float32)


def crop_heatmaps(rng: np.random.Generator, people: int) -> Array:
    """(people, 17, 64, 48) maps of one Gaussian each, with noise."""
    maps = [[blob((64, 48), *rng.uniform((4, 4), (44, 60))) for _ in range(KEYPOINTS)] for _ in range(people)]
    return np.asarray(maps + rng.normal(0, 0.01, (people, KEYPOINTS, 64, 48)), dtype=np.float32)


def crowd(rng: np.random.Generator, people: int) -> tuple[Array, Array, Array, Array]:
    """Keypoints, keypoint scores, scores and areas of detections, every fourth of the same person as the next."""
    keypoints = rng.uniform(0, 1000, (people, 1, 2)) + rng.normal(0, 60, (people, KEYPOINTS, 2))
    twice = keypoints[1::4]
    keypoints[: 4 * len(twice) : 4] = twice + rng.normal(0, 2, twice.shape)
    areas = rng.uniform(5e3, 5e4, people)
    return keypoints, rng.uniform(0, 1, (people, KEYPOINTS)), rng.uniform(0.2, 1, people), areas


def scene(rng: np.random.Generator, people: int, tag_size: int, size: int = 192) -> tuple[Array, Array]:
    """Heatmaps (17, size, size) and tags (17, size, size, tag_size)."""
    maps = rng.normal(0, 0.01, (KEYPOINTS, size, size)).astype(np.float32)
    tags = rng.normal(0, 0.05, (KEYPOINTS, size, size, tag_size)).astype(np.float32)
    for person in range(people):
        centre = rng.uniform(25, size - 25, 2)
        for keypoint in range(KEYPOINTS):
            heat = blob((size, size), *(centre + rng.normal(0, 12, 2))) * rng.choice([0.08, 0.8], p=[0.2, 0.8])
            maps[keypoint] = np.maximum(maps[keypoint], heat)
            tags[keypoint][heat > 0.03] = 2 * person
    return maps, tags


if __name__ == "__main__":
    main()
