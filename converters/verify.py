"""``python -m converters verify MODEL``: do a model's files compute what the torch network computes?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import nn

from converters import quantization
from converters.catalogue import Design
from converters.model_files import Request, write_files
from converters.networks.blocks import ContextBottleneck, GlobalContext
from converters.to_openvino import PictureInput
from converters.weights import PREBUILT, load_weights
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, ModelFileError
from mobilepose_sdk.runtimes import RUNTIMES, RuntimeName
from mobilepose_sdk.runtimes.tflite import TFLiteRuntime

Maps = list[NDArray[np.float32]]
Inputs = list[NDArray[np.uint8]]

BOUND = 1e-3
"""Largest difference from torch that counts as equal, as a share of the output's range."""
COUNT = 8
"""Inputs compared."""
CALIBRATION_COUNT = 24
"""Inputs INT8 is calibrated with here; fewer than for a packaged model, as only its distance from FP32 is reported."""


@dataclass(frozen=True)
class Comparison:
    """One runtime against torch, over :data:`COUNT` inputs.

    Attributes:
        runtime: ``"openvino"`` or ``"tflite"``.
        differences: by output, the largest difference of FP32 from torch as a share of the output's range.
        noise: by output, the root mean square difference of INT8 from FP32 as a share of FP32's standard deviation.
        shifts: distances in heatmap pixels between the INT8 and the FP32 keypoints, one a keypoint and input; None of
            a detector. Random weights make heatmaps without a clear peak, which noise moves far.
    """

    runtime: RuntimeName
    differences: dict[str, float]
    noise: dict[str, float]
    shifts: NDArray[np.float32] | None

    @property
    def equal(self) -> bool:
        return all(difference <= BOUND for difference in self.differences.values())

    def __str__(self) -> str:
        floats = ", ".join(f"{name} {difference:.1e}" for name, difference in self.differences.items())
        noise = ", ".join(f"{name} {share:.0%}" for name, share in self.noise.items())
        verdict = "within" if self.equal else "OVER"
        lines = [
            f"{self.runtime} fp32: largest difference / range: {floats} ({verdict} {BOUND})",
            f"{self.runtime} int8: rms difference from fp32 / deviation: {noise}",
        ]
        if self.shifts is not None:
            median, ninety = np.percentile(self.shifts, (50, 90))
            lines.append(
                f"{self.runtime} int8: keypoints moved by {self.shifts.mean():.2f} heatmap px on average, "
                f"median {median:.2f}, 90 % within {ninety:.2f}, at most {self.shifts.max():.2f}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found.

    Attributes:
        trained: whether the weights were trained ones.
        inputs: how many inputs were compared.
        comparisons: one a runtime that could be checked.
        skipped: why the others could not, by runtime.
    """

    trained: bool
    inputs: int
    comparisons: list[Comparison]
    skipped: dict[str, str]

    @property
    def passed(self) -> bool:
        """Every runtime that could be checked equals torch, and there was one."""
        return bool(self.comparisons) and all(comparison.equal for comparison in self.comparisons)

    def __str__(self) -> str:
        weights = (
            "trained weights" if self.trained else "no trained weights: random ones (seed 0), real BatchNorm averages"
        )
        lines = [f"{self.inputs} inputs; {weights}", *map(str, self.comparisons)]
        return "\n".join([*lines, *(f"{runtime}: not checked: {reason}" for runtime, reason in self.skipped.items())])


def verify(
    design: Design,
    compared: Inputs,
    calibration: Inputs,
    weights: Path | None = None,
    runtimes: tuple[RuntimeName, ...] = RUNTIMES,
    tflite_python: Path | None = None,
) -> Verification:
    """Convert a network into a temporary folder and compare the files' outputs with torch's.

    Args:
        design: which network.
        compared: inputs (1, H, W, 3) uint8 to compare on.
        calibration: such inputs for INT8, and for the BatchNorm averages of random weights.
        weights: a model folder with ``weights.safetensors``; ``prebuilt/<name>`` when omitted.
        runtimes: which to check; one whose tools are not installed is skipped, and the answer says so.
        tflite_python: see :func:`converters.to_tflite.find_python`.

    Raises:
        InvalidInputError: the weights are of another network, or there is no such folder.
    """
    folder = weights or PREBUILT / design.name
    trained = (folder / "weights.safetensors").exists()
    if not folder.is_dir():
        raise InvalidInputError(f"no folder {str(folder)!r}; one without weights.safetensors means random weights")
    network = _trained(design, folder) if trained else untrained(design.network, calibration)
    with torch.no_grad():
        expected = [_as_list(PictureInput(network)(torch.from_numpy(picture))) for picture in compared]
    comparisons, skipped = [], {}
    for runtime in runtimes:
        with tempfile.TemporaryDirectory() as name:
            request = Request(("fp32", "int8"), (runtime,), tflite_python)
            try:
                write_files(design, network, Path(name), request, calibration)
                floating, integer = (
                    RUNNERS[runtime](design, Path(name), precision, compared) for precision in request.precisions
                )
            except MissingDependencyError as error:
                skipped[str(runtime)] = str(error)
                continue
        comparisons.append(
            Comparison(
                runtime,
                _by_output(design, expected, floating, _largest_difference),
                _by_output(design, floating, integer, _noise),
                _shifts(design, floating, integer) if design.kind == "pose" else None,
            )
        )
    return Verification(trained, len(compared), comparisons, skipped)


def real_inputs(design: Design, data: Path | None, pictures: Path) -> tuple[Inputs, Inputs]:
    """Inputs to compare on and, from other people, to calibrate with.

    Args:
        design: which network.
        data: folder with ``train.json`` and ``images/``.
        pictures: folder of pictures that is used where there is no data. Where it shows fewer than :data:`COUNT`
            people, moved copies fill up, and serve for calibration too.
    """
    if data is not None:
        inputs = quantization.calibration_inputs(data, design, COUNT + CALIBRATION_COUNT)
        return inputs[:COUNT], inputs[COUNT:]
    found = quantization.inputs_from_pictures(pictures, design)
    inputs = [_moved(found[index % len(found)], index // len(found)) for index in range(max(COUNT, len(found)))]
    return inputs[:COUNT], inputs


def _moved(picture: NDArray[np.uint8], copy: int) -> NDArray[np.uint8]:
    """The picture itself, then copies moved by some pixels, every other one mirrored."""
    moved = np.roll(picture, (7 * copy, 5 * copy), axis=(1, 2))
    return np.ascontiguousarray(moved[:, :, ::-1] if copy % 2 else moved)


def untrained(make: Callable[[], nn.Module], inputs: Inputs) -> nn.Module:
    """A network of random weights (seed 0) that behaves like a trained one.

    BatchNorms hold the averages of real inputs, so that nothing vanishes or explodes. Global Context blocks do not
    start as the identity, and attend to many pixels: picking one would make a step of every rounding error. Their
    first convolutions have biases: TFLite's converter stores equal vectors once, and gets the blocks' constant wrong
    when all the rest of them is zero. Residual branches are half as strong as their shortcuts: fifty at full strength
    amplify rounding errors.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().train()
        for module in network.modules():
            if isinstance(module, GlobalContext):
                nn.init.normal_(module.conv_mask.weight, std=module.conv_mask.in_channels**-0.5)
                first, *_, last = module.channel_add_conv
                assert isinstance(first, nn.Conv2d) and first.bias is not None
                for parameter in (first.bias, *last.parameters()):
                    nn.init.normal_(parameter, std=0.05)
            if isinstance(module, ContextBottleneck):
                nn.init.constant_(module.bn3.weight, 0.5)
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None  # a plain average over the batches
        with torch.no_grad():
            for start in range(0, min(len(inputs), 32), 8):
                PictureInput(network)(torch.from_numpy(np.concatenate(inputs[start : start + 8])))
    return network.eval()


def _trained(design: Design, folder: Path) -> nn.Module:
    try:
        return load_weights(design, folder)
    except ModelFileError as error:
        raise InvalidInputError(
            f"{folder / 'weights.safetensors'} does not fit {design.name}, whose design may have changed: train it "
            "again, or give other weights with --weights FOLDER; a folder without weights means random ones"
        ) from error


def _as_list(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> Maps:
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _run_openvino(design: Design, folder: Path, precision: str, inputs: Inputs) -> list[Maps]:
    # Without the hint, processors with bfloat16 instructions would use them.
    compiled = openvino.Core().compile_model(
        folder / "openvino" / f"{precision}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return [[compiled(picture)[index].copy() for index in range(len(design.outputs))] for picture in inputs]


def _run_tflite(design: Design, folder: Path, precision: str, inputs: Inputs) -> list[Maps]:
    runtime = TFLiteRuntime(folder / "tflite" / f"{precision}.tflite", design.outputs)
    try:
        return [runtime(picture) for picture in inputs]
    finally:
        runtime.close()


RUNNERS: dict[RuntimeName, Callable[[Design, Path, str, Inputs], list[Maps]]] = {
    "openvino": _run_openvino,
    "tflite": _run_tflite,
}


def _by_output(
    design: Design, expected: list[Maps], got: list[Maps], measure: Callable[[Any, Any], float]
) -> dict[str, float]:
    pairs = zip(zip(*expected), zip(*got))
    measured = [measure(np.concatenate(wanted), np.concatenate(found)) for wanted, found in pairs]
    return dict(zip(design.outputs, measured))


def _largest_difference(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    return float(np.abs(got - expected).max() / np.ptp(expected))


def _noise(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(got - expected).mean()) / expected.std())


def _shifts(design: Design, floating: list[Maps], integer: list[Maps]) -> NDArray[np.float32]:
    """Distances in pixels between the peaks of two runs' heatmaps."""
    peaks = []
    for run in (floating, integer):
        heatmaps = np.concatenate([maps[0] for maps in run])
        channels = heatmaps.shape[1]
        if design.approach == "bottom-up":
            channels //= 2  # the other half are tags
        peaks.append(decode(heatmaps[:, :channels], "quarter-offset")[0])
    distances: NDArray[np.float32] = np.linalg.norm(peaks[0] - peaks[1], axis=-1).ravel()
    return distances
