"""One picture through the real pipeline, timed stage by stage.

The network and the detector are wrapped by a stopwatch; everything else is the SDK's own path, so that a stage cannot
be measured in a form that nobody runs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.estimator import PoseEstimator
from mobilepose_sdk.pipelines.people import People
from mobilepose_sdk.runtimes import Runtime
from mobilepose_sdk.samples import sample_boxes, sample_picture
from mobilepose_sdk.sources import read_picture

if TYPE_CHECKING:
    from mobilepose_sdk.profiling import Configuration

STAGES = ("decode picture", "detect", "prepare", "infer", "decode heatmaps", "NMS")
Turn = Callable[[], dict[str, float]]
"""Runs everything once; milliseconds by stage."""


class Watched:
    """A runtime with a stopwatch: when it was first entered, and how long it ran in all, in seconds."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.entered, self.spent = runtime, 0.0, 0.0

    def reset(self) -> None:
        self.entered = self.spent = 0.0

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        start = time.perf_counter()
        self.entered = self.entered or start
        output = self.runtime(batch)
        self.spent += time.perf_counter() - start
        return output

    def close(self) -> None:
        self.runtime.close()

    def stages(self, start: float, end: float) -> dict[str, float]:
        """Milliseconds of what ran from ``start`` to ``end``, before, in and behind the network."""
        behind = end - self.entered - self.spent
        parts = {"prepare": self.entered - start, "infer": self.spent, "decode heatmaps": behind}
        return {name: seconds * 1e3 for name, seconds in parts.items()}


@contextmanager
def open_stages(configuration: Configuration) -> Iterator[Turn]:
    """Open a configuration's models; gives a function that runs one picture through them."""
    one = configuration
    options: dict[str, Any] = {"threads": one.threads} if one.threads else {}
    with PoseEstimator(one.model, runtime=one.runtime, precision=one.precision, detector=one.detector, **options) as e:
        yield top_down_turn(e, one.batch) if e.card.approach == "top-down" else bottom_up_turn(e, one.batch)


def top_down_turn(estimator: PoseEstimator, people: int) -> Turn:
    """One sample picture with ``people`` boxes: every stage."""
    pipeline: Any = estimator._pipeline
    watched = Watched(pipeline.runtime)
    timed = replace(pipeline, runtime=watched)
    picture, boxes = sample_picture(), sample_boxes(people)

    def turn() -> dict[str, float]:
        watched.reset()
        start = time.perf_counter()
        image = read_picture(picture)
        decoded = time.perf_counter()
        pipeline.detector(image)
        detected = time.perf_counter()
        result = timed([image], [boxes])[0]
        posed = time.perf_counter()
        found = People(result.boxes, result.scores, result.keypoints, result.keypoint_scores)
        found.merged(pipeline.nms, pipeline.skeleton)
        merged = time.perf_counter()
        before = {"decode picture": (decoded - start) * 1e3, "detect": (detected - decoded) * 1e3}
        return {**before, **watched.stages(detected, posed), "NMS": (merged - posed) * 1e3}

    return turn


def bottom_up_turn(estimator: PoseEstimator, pictures: int) -> Turn:
    """``pictures`` sample pictures: no detector, and merging is a part of decoding."""
    pipeline: Any = estimator._pipeline
    watched = Watched(pipeline.runtime)
    timed = replace(pipeline, runtime=watched)
    picture = sample_picture()

    def turn() -> dict[str, float]:
        total: Counter[str] = Counter()
        for _ in range(pictures):
            watched.reset()
            start = time.perf_counter()
            image = read_picture(picture)
            decoded = time.perf_counter()
            timed([image], [None])
            total.update({"decode picture": (decoded - start) * 1e3, **watched.stages(decoded, time.perf_counter())})
        return dict(total)

    return turn
