"""The bare networks in INT8 against each other and against PyTorch, in one interleaved run; needs the `convert` extra.

    python benchmarks/networks.py [lpn-50 mobileposenet-256x192 ...] [--threads 2] [--repeats 100]

A packaged model runs as it is packaged. A network that is not trained gets random weights, which are as fast, and its
row says so. Ratios are to the first; PyTorch eager fp32, how the LPN paper measured, runs the first one too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # converters run from a checkout only

import numpy as np
import torch

from converters import to_openvino
from converters.catalogue import DESIGNS, Design
from converters.quantization import quantize
from mobilepose_sdk.models import list_models
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.runtimes.openvino import OpenVINORuntime
from mobilepose_sdk.threads import CPUSettings
from mobilepose_sdk.topology import read_topology

BLOCK, WARM_UP, REST = 10, 3, 0.05
CALIBRATION = 8
"""Random pictures: they decide how accurate an INT8 network is, not how fast."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=["lpn-50", "mobileposenet-256x192"], metavar="MODEL")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=100, help="runs that count (default: 100)")
    options = parser.parse_args()
    designs = [next(design for design in DESIGNS.values() if design.name == name) for name in options.models]

    calls = dict(_integer(design, options.threads) for design in designs)
    first = next(iter(calls))
    calls[f"{designs[0].name} PyTorch eager fp32"] = _eager(designs[0], options.threads)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(0, options.repeats, BLOCK):
        for name, call in calls.items():
            time.sleep(REST)  # idle threads of the library before go on spinning for a while
            for number in range(-WARM_UP, BLOCK):
                start = time.perf_counter()
                call()
                if number >= 0 and done + number < options.repeats:
                    times[name].append((time.perf_counter() - start) * 1e3)
    print(f"{read_topology()}; {options.threads} threads; {options.repeats} interleaved runs, {BLOCK} in a row")
    reference = statistics.median(times[first])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:50s} median {median:7.2f} ms   {reference / median:5.2f}× as fast as {first}")
    eager = statistics.median(times[f"{designs[0].name} PyTorch eager fp32"])
    print(f"{first} is {eager / reference:.2f}× as fast as PyTorch eager fp32")


def _integer(design: Design, threads: int) -> tuple[str, Callable[[], object]]:
    """A name for, and a call of, a network in INT8 on one input."""
    batch = _batch(design, 0)
    card = next((card for card in list_models() if card.name == design.name), None)
    if card is not None and "int8" in card.precisions.get("openvino", []):
        packaged = load(card, "openvino", "int8", threads, "CPU")
        return f"{design.name} int8", lambda: packaged(batch)
    torch.manual_seed(0)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # tracing warns about shapes that are constant by design
        floating = to_openvino.convert(design.network().eval(), design.input_size, design.outputs)
        integer = quantize(floating, [_batch(design, seed) for seed in range(CALIBRATION)], design.float_first)
        path = to_openvino.save(integer, Path(folder), "int8")[0]
        runtime = OpenVINORuntime(path, settings=CPUSettings(threads))
    return f"{design.name} int8 (not trained: random weights)", lambda: runtime(batch)


def _eager(design: Design, threads: int) -> Callable[[], object]:
    torch.set_num_threads(threads)
    network, (width, height) = design.network().eval(), design.input_size
    tensor = torch.zeros(1, 3, height, width)

    def call() -> object:
        with torch.inference_mode():
            return network(tensor)

    return call


def _batch(design: Design, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    width, height = design.input_size
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


if __name__ == "__main__":
    main()
