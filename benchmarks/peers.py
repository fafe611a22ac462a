"""Our pipeline against MediaPipe Pose and against PyTorch, on the same frames, in one interleaved run.

    python benchmarks/peers.py [--threads 2] [--repeats 100] [--folder FRAMES]

It needs `mediapipe==0.10.14` (extra `peers`), and for the PyTorch row `torch==2.13.0`; what is missing is left out and
said. mediapipe brings its own OpenCV and an old protobuf, so give it an environment of its own:

    python3.11 -m venv peers && peers/bin/pip install . 'mediapipe==0.10.14' torch==2.13.0

Frames are a photograph of one person that moves a little from frame to frame; all follow the person by where it was in
the frame before, as MediaPipe's tracking mode does. MediaPipe runs its networks on one thread on desktops; its second
row gives it as many as ours by changing its graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # converters, for PyTorch, runs from a checkout only

import cv2
import numpy as np
from webcam import swaying

from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.errors import MobilePoseError
from mobilepose_sdk.models import find_model
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.sources import expand_inputs, read_picture
from mobilepose_sdk.topology import read_topology

Array = np.ndarray[Any, Any]
Call = Callable[[Array], object]
BLOCK, WARM_UP = 10, 3
"""Frames in a row that a program gets before it is the next one's turn, and frames before those that do not count: a
video's frames do not find the caches full of another program's data."""
REST = 0.05
"""Seconds before a turn: idle threads of the program before go on spinning for a while."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="lpn-50", help="our pose model (default: lpn-50)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=100, help="frames that count (default: 100)")
    parser.add_argument("--folder", type=Path, help="frames of your own: pictures of one person, in order")
    options = parser.parse_args()

    frames = _own(options.folder) if options.folder else swaying()
    calls = {**ours(options.model, options.threads), **mediapipe_pose(options.threads)}
    calls |= networks(options.model, options.threads)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for first in range(0, options.repeats, BLOCK):
        for name, call in calls.items():
            time.sleep(REST)
            for number in range(first - WARM_UP, first + BLOCK):
                start = time.perf_counter()
                call(frames[number % len(frames)])
                if number >= first:
                    times[name].append((time.perf_counter() - start) * 1e3)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    height, width = frames[0].shape[:2]
    run = f"{options.repeats} interleaved frames of {width}×{height}, {BLOCK} in a row"
    print(f"{read_topology()}; {options.threads} threads; {run}")
    for name, taken in times.items():
        print(f"{name:52s} median {medians[name]:7.2f} ms   p90 {np.percentile(taken, 90):7.2f} ms")
    ours_name = next(iter(medians))
    for name in medians:
        if name.startswith("MediaPipe"):
            print(f"{ours_name}: {medians[name] / medians[ours_name]:.2f}× as fast as {name}")
    for name in medians:
        if name.startswith("network: PyTorch"):
            print(f"network: OpenVINO int8: {medians[name] / medians['network: OpenVINO int8']:.2f}× as fast as {name}")


def ours(model: str, threads: int) -> dict[str, Call]:
    """The whole pipeline, following the person with :meth:`PoseEstimator.stream`; one person, tracking on."""
    return {f"ours, {model} int8, tracking": _Following(PoseEstimator(model, precision="int8", threads=threads))}


class _Following:
    """Feeds a stream frame by frame."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._next: SimpleQueue[Array] = SimpleQueue()
        self._results = iter(estimator.stream(self._frames(), detect_every=10**9))

    def _frames(self) -> Any:
        while True:
            yield self._next.get()

    def __call__(self, frame: Array) -> object:
        self._next.put(frame)
        return next(self._results)


def mediapipe_pose(threads: int) -> dict[str, Call]:
    """MediaPipe Pose full in tracking mode, as it comes and with as many threads as ours."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", module="google.protobuf")
    try:
        import mediapipe
        from mediapipe.calculators.tensor import inference_calculator_pb2
        from mediapipe.framework import calculator_pb2
        from mediapipe.python._framework_bindings import validated_graph_config
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        print(f"left out: MediaPipe ({error}); see the top of this file")
        return {}

    def with_threads(count: int) -> Any:
        graph = validated_graph_config.ValidatedGraphConfig()
        folder = Path(mediapipe.__file__).parent
        graph.initialize(binary_graph_path=str(folder / "modules/pose_landmark/pose_landmark_cpu.binarypb"))
        config = calculator_pb2.CalculatorGraphConfig.FromString(graph.binary_config)
        for node in config.node:
            if node.calculator.startswith("InferenceCalculator"):
                own = node.options.Extensions[inference_calculator_pb2.InferenceCalculatorOptions.ext]
                own.delegate.xnnpack.num_threads = count
        switches = {"smooth_landmarks": True, "enable_segmentation": False, "smooth_segmentation": False}
        inputs = {"model_complexity": 1, "use_prev_landmarks": True, **switches}
        return SolutionBase(graph_config=config, side_inputs=inputs, outputs=["pose_landmarks"])

    def caller(process: Callable[[Array], Any]) -> Call:
        def call(frame: Array) -> object:
            landmarks = process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).pose_landmarks
            if landmarks is None:
                raise SystemExit("MediaPipe finds nobody in the frames: nothing to compare")
            return landmarks

        return call

    as_it_comes, asked = mediapipe.solutions.pose.Pose(model_complexity=1), with_threads(threads)
    return {
        "MediaPipe Pose full, tracking, as it comes": caller(as_it_comes.process),
        f"MediaPipe Pose full, tracking, {threads} threads": caller(lambda image: asked.process({"image": image})),
    }


def networks(model: str, threads: int) -> dict[str, Call]:
    """The bare network on one crop: OpenVINO INT8, and PyTorch eager fp32, how the LPN paper measured."""
    card = find_model(model, "pose")
    width, height = card.input_size
    crop = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    runtime = load(card, "openvino", "int8", threads, "CPU")
    calls: dict[str, Call] = {"network: OpenVINO int8": lambda _: runtime(crop)}
    try:
        import torch

        from converters.catalogue import DESIGNS
    except ImportError as error:
        print(f"left out: PyTorch ({error})")
        return calls
    torch.set_num_threads(threads)
    network = next(design for design in DESIGNS.values() if design.name == card.name).network().eval()
    tensor = torch.from_numpy(crop).permute(0, 3, 1, 2).float().contiguous()

    def eager(_: Array) -> object:
        with torch.inference_mode():
            return network(tensor)

    return {**calls, "network: PyTorch eager fp32": eager}


def _own(folder: Path) -> list[Array]:
    try:
        return [read_picture(path) for path in expand_inputs([folder]).paths]
    except MobilePoseError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
