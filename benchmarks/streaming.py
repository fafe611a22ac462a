"""What a stream costs beside the network, whether its memory grows, and whether threads agree.

    python benchmarks/streaming.py [--model mobileposenet-256x192] [--threads 2] [--repeats 300] [--frames 10000]

One person is in view, in 640×480 pixels; frames are in memory, so capture is not part of it. The whole pipeline and the
bare network are run in turn, so that a noisy neighbour slows both alike.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from webcam import swaying

from mobilepose_sdk import PersonDetector, PoseEstimator
from mobilepose_sdk.models import DEFAULT_POSE_MODEL
from mobilepose_sdk.profiling.stages import Watched
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.threads import Threads

Array = NDArray[Any]
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_POSE_MODEL, help="a top-down pose model")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=300, help="frames of the latency part (default: 300)")
    parser.add_argument("--frames", type=int, default=10_000, help="frames of the memory part (default: 10000)")
    options = parser.parse_args()
    frames = swaying()
    detect = PersonDetector(threads=options.threads)

    person = detect(frames[0])[0][:1]

    def find_one(image: Array) -> Array:
        """The detector's work, and one person, whatever else it sees."""
        detect(image)
        return person

    with PoseEstimator(options.model, threads=options.threads, detector=find_one) as estimator:
        report_latency(estimator, frames, options)
        report_agreement(estimator, frames)
        report_memory(estimator, frames, options.frames)


def report_latency(estimator: PoseEstimator, frames: list[Array], options: argparse.Namespace) -> None:
    width, height = estimator.card.input_size
    network = load(estimator.card, "openvino", None, Threads(options.threads), "CPU")
    crop = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    pipeline: Any = estimator._pipeline
    timed = Watched(pipeline.runtime)
    object.__setattr__(pipeline, "runtime", timed)
    detecting, following = estimator.stream(cycle(frames)), estimator.stream(cycle(frames), detect_every=10**9)
    calls: dict[str, Callable[[], Any]] = {
        "network": lambda: network(crop),
        "pipeline": lambda: next(detecting),
        "rest": lambda: next(following),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    people = []
    for turn in range(options.repeats + WARM_UP):
        for name, call in calls.items():
            timed.spent = 0.0
            start = time.perf_counter()
            result = call()
            seconds = time.perf_counter() - start
            if turn >= WARM_UP:
                times[name].append((seconds - (timed.spent if name == "rest" else 0)) * 1e3)
                people += [len(result)] if name == "pipeline" else []
    object.__setattr__(pipeline, "runtime", timed.runtime)
    print(f"{options.threads} threads, {options.repeats} interleaved frames, people in view: {sorted(set(people))}")
    for name, text in {
        "network": f"bare network, {estimator.card.name}",
        "pipeline": "whole pipeline, detection every 15 frames",
        "rest": "preparation, decoding, tracking, in between",
    }.items():
        report(text, times[name])
    report_rest(estimator, frames, options.repeats)
    medians, means, least = (
        f(times["pipeline"]) / f(times["network"]) for f in (statistics.median, statistics.mean, min)
    )
    print(f"pipeline / network: {medians:.2f} of medians, {means:.2f} of means, {least:.2f} of minima")


def report_rest(estimator: PoseEstimator, frames: list[Array], repeats: int) -> None:
    """What the stream does on its own, with the network's answers recorded beforehand."""
    pipeline: Any = estimator._pipeline
    runtime, answers = pipeline.runtime, []

    def record(batch: Array) -> list[Array]:
        answers.append(runtime(batch))
        return answers[-1]  # type: ignore[no-any-return]

    object.__setattr__(pipeline, "runtime", record)
    following = estimator.stream(cycle(frames), detect_every=10**9)
    for _ in range(repeats):
        next(following)
    heatmaps = answers[0][0].copy()
    object.__setattr__(pipeline, "runtime", lambda batch: [heatmaps])
    following, times = estimator.stream(cycle(frames), detect_every=10**9), []
    for (answer,) in answers:
        heatmaps[:] = answer  # in the caches, as what a network has just written
        start = time.perf_counter()
        next(following)
        times.append((time.perf_counter() - start) * 1e3)
    object.__setattr__(pipeline, "runtime", runtime)
    report("the same by themselves, network replayed", times[WARM_UP:])


def report(text: str, values: list[float]) -> None:
    print(
        f"{text:45s} median {statistics.median(values):7.3f} ms   mean {statistics.mean(values):7.3f} ms   "
        f"min {min(values):7.3f} ms"
    )


def report_agreement(estimator: PoseEstimator, frames: list[Array]) -> None:
    pictures = frames * 4
    alone = [estimator(image) for image in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(estimator, pictures))
    same = all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(alone, together)
        for name in ("keypoints", "keypoint_scores", "boxes", "scores")
    )
    print(f"4 threads, one estimator, {len(pictures)} pictures: {'the same results' if same else 'OTHER RESULTS'}")


def report_memory(estimator: PoseEstimator, frames: list[Array], count: int) -> None:
    stream = estimator.stream(cycle(frames))
    for _ in range(300):
        next(stream)
    gc.collect()
    before = resident()
    for _ in range(count):
        next(stream)
    gc.collect()
    print(f"memory after {count} frames more: {resident() - before:+.2f} MB")


def resident() -> float:
    """Memory of this process in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(kilobytes) * 1024 / 1e6
    import psutil  # type: ignore[import-untyped,unused-ignore]

    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    main()
