"""How many pictures a second a network is trained on, with PyTorch's layers and with the ones in C++.

    python benchmarks/training.py [lpn-50 mobileposenet-256x192 ...] [--threads 1] [--repeats 5]

Random pictures at the size before the full one, steps of both networks in turn, data loading left out.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # converters run from a checkout only

import torch
from torch import Tensor, nn

from converters.__main__ import ALLOCATOR
from converters.catalogue import DESIGNS, Design
from converters.training.loop import Normalised, as_float
from converters.training.native.layers import use_native_layers
from converters.training.optimizer import MuonAdamW
from converters.training.people import STRIDE
from converters.training.precision import mixed_precision

MODELS = ["lpn-50", "mobileposenet-256x192", "efficienthrnet-h-4"]
WARM_UP = 2
PEOPLE = 3
"""In a picture of a bottom-up network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="pose networks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=5, help="steps that count (default: 5)")
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ and sys.platform == "linux":  # as `python -m converters train` does
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": ALLOCATOR})
    torch.set_num_threads(options.threads)
    for name in options.models:
        design = DESIGNS[name]
        width, height = design.recipe.stages[-2].input_size
        usual = design.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        native = copy.deepcopy(usual)
        use_native_layers(native)
        steps = [training_step(design, network) for network in (usual, native)]
        times: list[list[float]] = [[], []]
        for turn in range(WARM_UP + options.repeats):
            for step, taken in zip(steps, times):
                start = time.perf_counter()
                step()
                if turn >= WARM_UP:
                    taken.append(time.perf_counter() - start)
        before, after = (design.recipe.batch / statistics.median(taken) for taken in times)
        rates = f"{before:.1f} pictures a second with PyTorch's layers, {after:.1f} with those in C++"
        print(f"{name}, {width}×{height}, {options.threads} threads: {rates}: {after / before:.2f}×", flush=True)


def training_step(design: Design, network: nn.Module) -> Callable[[], None]:
    """One step on random pictures and keypoints, as :class:`converters.training.loop.Training` does it."""
    (width, height), count = design.recipe.stages[-2].input_size, design.recipe.batch
    task, model, optimizer = design.task(Path()), Normalised(network).train(), MuonAdamW(network, 1e-3, 1e-4)
    pictures = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    truth = random_truth(design)

    def step() -> None:
        with mixed_precision(pictures.device):
            outputs = model(pictures)
        network.zero_grad()
        task.loss(as_float(outputs), pictures, truth).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def random_truth(design: Design) -> tuple[Tensor, ...]:
    """What a batch of the design's samples holds beside the pictures."""
    size, count = torch.tensor(design.recipe.stages[-2].input_size), design.recipe.batch
    if design.approach == "top-down":
        return torch.rand(count, 17, 2) * size / STRIDE, torch.ones(count, 17)
    nobody = torch.full((count, 1, 4), torch.nan)
    return torch.rand(count, PEOPLE, 17, 2) * size, torch.ones(count, PEOPLE, 17), nobody


if __name__ == "__main__":
    main()
