"""Median latency of networks as TFLite FP32 and INT8 files, in one interleaved run.

    python benchmarks/tflite.py [MODEL ...] [--threads 1 2] [--seconds 20]

Both files are made on the spot, from the model's weights where it has some: speed does not depend on them. Rows are
measured in turn, so that a noisy neighbour slows all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # converters run from a checkout only

import numpy as np
from numpy.typing import NDArray
from torch import nn

from converters.catalogue import DESIGNS, Design
from converters.to_tflite import convert
from converters.weights import PREBUILT, load_weights
from mobilepose_sdk.runtimes.tflite import TFLiteRuntime
from mobilepose_sdk.threads import CPUSettings

BLOCK, WARM_UP, REST = 5, 2, 0.02
PRECISIONS = ("fp32", "int8")
Row = tuple[str, int, str]
"""Model, threads, precision."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=["lpn-50"], help="names of networks (default: lpn-50)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default: 1 2)")
    parser.add_argument("--seconds", type=float, default=20, help="of measuring (default: 20)")
    options = parser.parse_args()

    runtimes: dict[Row, TFLiteRuntime] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            design, place = DESIGNS[name], Path(folder) / name
            network, inputs, first = network_of(design), [picture(design)], design.float_first
            files = convert(network, design.input_size, design.outputs, place, PRECISIONS, inputs, float_first=first)
            for threads in options.threads:
                for precision, file in files.items():
                    runtime = TFLiteRuntime(file, settings=CPUSettings(threads))
                    runtimes[name, threads, precision] = runtime
    times = measure(runtimes, options.seconds)
    for name, threads, precision in runtimes:
        measured = times[name, threads, precision]
        median, floating = statistics.median(measured), statistics.median(times[name, threads, "fp32"])
        print(
            f"{name:22s} {threads} threads {precision}  median {median:7.2f} ms  min {min(measured):7.2f} ms  "
            f"{len(measured):4d} runs  {floating / median:4.2f}× as fast as fp32"
        )


def network_of(design: Design) -> nn.Module:
    """The design's network, with its packaged weights if they fit."""
    try:
        return load_weights(design, PREBUILT / design.name)
    except (FileNotFoundError, RuntimeError):
        return design.network().eval()


def picture(design: Design) -> NDArray[np.uint8]:
    """A random input (1, H, W, 3)."""
    width, height = design.input_size
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def measure(runtimes: dict[Row, TFLiteRuntime], seconds: float) -> dict[Row, list[float]]:
    """Milliseconds of calls, for about as long as asked."""
    inputs = {name: picture(DESIGNS[name]) for name, _, _ in runtimes}
    times: dict[Row, list[float]] = {row: [] for row in runtimes}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for row, runtime in runtimes.items():
            time.sleep(REST)  # idle threads of the row before go on spinning for a while
            for number in range(-WARM_UP, BLOCK):
                start = time.perf_counter()
                runtime(inputs[row[0]])
                if number >= 0:
                    times[row].append((time.perf_counter() - start) * 1e3)
    return times


if __name__ == "__main__":
    main()
