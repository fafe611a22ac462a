"""A network's files for each runtime, listed with size and sha256 as a card lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from converters import quantization, to_openvino, to_tflite
from converters.catalogue import Design
from mobilepose_sdk.errors import ModelFileError
from mobilepose_sdk.models import ModelFile
from mobilepose_sdk.runtimes import RuntimeName
from mobilepose_sdk.runtimes.openvino import OpenVINORuntime

Files = dict[str, list[ModelFile]]
"""By precision."""


@dataclass(frozen=True)
class Request:
    """Which files of a model are wanted.

    Attributes:
        precisions: ``"int8"``, ``"fp16"`` and ``"fp32"`` in the order of recommendation.
        runtimes: whose files; those of another that the folder has stay, as long as they are of the same weights.
        tflite_python: see :func:`converters.to_tflite.find_python`.
    """

    precisions: Sequence[str] = ("int8", "fp16")
    runtimes: Sequence[RuntimeName] = ("openvino",)
    tflite_python: Path | None = None


DEFAULT_REQUEST = Request()


def write_files(
    design: Design, network: nn.Module, folder: Path, request: Request, inputs: list[NDArray[np.uint8]]
) -> dict[str, Files]:
    """Write a network's files into its folder.

    Returns:
        them by runtime.

    Raises:
        MissingDependencyError: there is no environment that makes TFLite files; nothing is written.
        ModelFileError: OpenVINO cannot run what it was given.
    """
    made: dict[str, Files] = {}
    if "tflite" in request.runtimes:
        to_tflite.find_python(request.tflite_python)
    if "openvino" in request.runtimes:
        floating = to_openvino.convert(network, design.input_size, design.outputs)
        made["openvino"] = {}
        for precision in request.precisions:
            integer = precision == "int8"
            model = quantization.quantize(floating, inputs, design.float_first) if integer else floating
            written = to_openvino.save(model, folder, precision)
            _try_out(written[0], precision)
            made["openvino"][precision] = _listed(written, folder)
    if "tflite" in request.runtimes:
        python, float_first = request.tflite_python, design.float_first
        paths = to_tflite.convert(
            network, design.input_size, design.outputs, folder, request.precisions, inputs, python, float_first
        )
        made["tflite"] = {precision: _listed([path], folder) for precision, path in paths.items()}
    return made


def _try_out(path: Path, precision: str) -> None:
    """Whether OpenVINO can run what was written; ranges found on very few inputs can be of no use to it."""
    try:
        OpenVINORuntime(path).close()
    except ModelFileError as error:
        few = "; INT8 may need more calibration pictures" if precision == "int8" else ""
        raise ModelFileError(f"{error}{few}") from error


def quantization_facts(made: dict[str, Files], pictures: int, float_first: int = 0) -> dict[str, Any]:
    """How the INT8 files among those made were calibrated, and how many convolutions stayed floating."""
    facts: dict[str, Any] = {}
    first = "the first convolution" if float_first == 1 else f"the first {float_first} convolutions"
    but_for = f"but for {first}" if float_first else ""
    if "int8" in made.get("openvino", {}):
        method = ["NNCF post-training", "mixed preset", *([but_for] if but_for else [])]
        facts |= {"method": ", ".join(method), "pictures": pictures}
    if "int8" in made.get("tflite", {}):
        used = min(pictures, to_tflite.CALIBRATION_COUNT)
        facts["tflite"] = f"TensorFlow post-training, integers {but_for or 'throughout'}, {used} pictures"
    return facts


def _listed(paths: list[Path], folder: Path) -> list[ModelFile]:
    return [
        ModelFile(
            path.relative_to(folder).as_posix(), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in paths
    ]
