"""What the deployment graphs gain over a plain conversion of the same weights, in one interleaved run.

    python benchmarks/deploy.py lpn-50 efficienthrnet-h-4 --data DATA [--threads 1] [--seconds 30] [--layers]

The plain conversion is the network as papers write it (transposed convolutions, Global Context as a matrix product over
the flattened map) given to OpenVINO as it is, and NNCF's mixed preset for INT8. Both graphs run in FP32, bf16 and INT8
in turns, so that a noisy neighbour slows all of them alike. Networks without trained weights get random ones with the
BatchNorm averages of real inputs.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import quantization, to_openvino
from converters.catalogue import DESIGNS, Design
from converters.networks.blocks import GlobalContext, GroupedTransposedConv
from converters.training.loop import Normalised
from converters.verify import untrained
from converters.weights import PREBUILT, load_weights

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
WARM_UP = 3


class PlainContext(nn.Module):
    """A Global Context block as its authors wrote it."""

    def __init__(self, block: GlobalContext) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.size()
        mask = torch.softmax(self.block.conv_mask(x).view(batch, 1, height * width), 2).unsqueeze(-1)
        context = torch.matmul(x.view(batch, channels, height * width).unsqueeze(1), mask)
        added: Tensor = self.block.channel_add_conv(context.view(batch, channels, 1, 1))
        return x + added


class PlainInput(nn.Module):
    """Pictures (N, H, W, 3) uint8 to outputs: transposed, then normalised as in training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = Normalised(network)

    def forward(self, pictures: Tensor) -> Any:
        return self.model(pictures.permute(0, 3, 1, 2))


def plain(network: nn.Module) -> nn.Module:
    """A copy with torch's own transposed convolutions and the matrix-product Global Context."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GlobalContext):
                setattr(parent, name, PlainContext(child))
            elif isinstance(child, GroupedTransposedConv):
                layer = nn.ConvTranspose2d(
                    child.in_channels, child.out_channels, 4, 2, 1, groups=child.groups, bias=False
                )
                layer.weight = child.weight
                setattr(parent, name, layer)
    return network


def plain_conversion(network: nn.Module, input_size: tuple[int, int]) -> openvino.Model:
    width, height = input_size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    return openvino.convert_model(
        PlainInput(plain(network)), example_input=example, input=[("pictures", [1, height, width, 3])]
    )


def compiled(model: openvino.Model, precision: str, threads: int, counters: bool = False) -> Any:
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": HINTS[precision]}
    return openvino.Core().compile_model(model, "CPU", {**options, "PERF_COUNT": counters})


def interleaved(calls: dict[str, Any], picture: NDArray[np.uint8], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each compiled model, one run of each in turn, for so many seconds."""
    requests = {name: model.create_infer_request() for name, model in calls.items()}
    times: dict[str, list[float]] = defaultdict(list)
    end = time.perf_counter() + seconds
    turn = 0
    while time.perf_counter() < end or turn < WARM_UP + 5:
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer([picture], share_inputs=True)
            if turn >= WARM_UP:
                times[name].append((time.perf_counter() - start) * 1e3)
        turn += 1
    return times


def layer_kinds(model: Any, picture: NDArray[np.uint8], runs: int = 20) -> list[tuple[str, float, int]]:
    """Kind and implementation, milliseconds in the fastest runs, and number of the layers that were executed."""
    request = model.create_infer_request()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        request.infer([picture], share_inputs=True)
        for layer in request.profiling_info:
            if layer.status == openvino.ProfilingInfo.Status.EXECUTED:
                times[layer.node_name, f"{layer.node_type} {layer.exec_type}"].append(layer.real_time.total_seconds())
    kinds: dict[str, list[float]] = defaultdict(list)
    for (_, kind), measured in times.items():
        kinds[kind].append(min(measured) * 1e3)
    return sorted(((kind, sum(t), len(t)) for kind, t in kinds.items()), key=lambda row: -row[1])


def compare(design: Design, options: argparse.Namespace) -> None:
    threads = options.threads
    inputs = quantization.calibration_inputs(options.data, design, options.calibration)
    folder = options.weights / design.name
    trained = (folder / "weights.safetensors").exists()
    network = load_weights(design, folder) if trained else untrained(design.network, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about shapes that are constant by design
        graphs = {
            "plain": plain_conversion(network, design.input_size),
            "deploy": to_openvino.convert(network, design.input_size, design.outputs),
        }
    models = {}
    for graph, model in graphs.items():
        integer = quantization.quantize(model, inputs, design.float_first)
        for precision in HINTS:
            models[graph, precision] = integer if precision == "int8" else model
    ready = {" ".join(key): compiled(model, key[1], threads) for key, model in models.items()}
    times = interleaved(ready, inputs[0], options.seconds)
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    least = {name: min(measured) for name, measured in times.items()}

    runs = len(next(iter(times.values())))
    weights = "trained" if trained else "random"
    print(f"\n{design.name}, {weights} weights, {threads} thread(s), {runs} interleaved runs, milliseconds")
    print(f"{'':6s}{'plain':>10s}{'deploy':>10s}{'ratio':>8s}{'':4s}{'plain min':>10s}{'deploy min':>11s}{'ratio':>8s}")
    for precision in HINTS:
        old, new = f"plain {precision}", f"deploy {precision}"
        print(
            f"{precision:6s}{medians[old]:10.2f}{medians[new]:10.2f}{medians[old] / medians[new]:7.2f}×{'':4s}"
            f"{least[old]:10.2f}{least[new]:11.2f}{least[old] / least[new]:7.2f}×"
        )
    for precision in ("bf16", "int8"):
        print(
            f"deploy {precision} against deploy fp32: {medians['deploy fp32'] / medians[f'deploy {precision}']:.2f}×, "
            f"against plain fp32: {medians['plain fp32'] / medians[f'deploy {precision}']:.2f}×"
        )
    if options.layers:
        for (graph, precision), model in models.items():
            kinds = layer_kinds(compiled(model, precision, threads, counters=True), inputs[0])
            print(f"\n{design.name} {graph} {precision}: {sum(t for _, t, _ in kinds):.1f} ms in layers")
            for kind, milliseconds, count in kinds[:10]:
                print(f"{milliseconds:9.2f} ms  {count:3d} × {kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", choices=list(DESIGNS), metavar="MODEL")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json and images/, for calibration")
    parser.add_argument("--calibration", type=int, default=32, help="inputs INT8 is calibrated with (default: 32)")
    parser.add_argument(
        "--weights", type=Path, default=PREBUILT, help="folder with MODEL/weights.safetensors (default: prebuilt)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--seconds", type=float, default=30, help="length of a model's interleaved run (default: 30)")
    parser.add_argument("--layers", action="store_true", help="also print the time by kind of layer")
    options = parser.parse_args()
    for name in options.models:
        compare(DESIGNS[name], options)


if __name__ == "__main__":
    main()
