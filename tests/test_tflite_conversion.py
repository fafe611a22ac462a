"""TFLite files of every family of networks: equal to torch, of operators that XNNPACK runs, integer where they say so.

The conversion needs the environment of the extra ``tflite-convert``; .ci/run makes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from converters import to_tflite
from converters.catalogue import DESIGNS, Design
from converters.networks.mobileposenet import MobilePoseNet
from converters.to_tflite import ConversionError, convert, find_python
from converters.training.loop import Normalised
from mobilepose_sdk.errors import MissingDependencyError, ModelFileError
from mobilepose_sdk.preprocessing import crop_matrices, crop_regions, warp_crops
from mobilepose_sdk.runtimes.tflite import TFLiteRuntime
from mobilepose_sdk.sources import read_picture
from mobilepose_sdk.threads import CPUSettings
from tests.test_conversion import with_statistics

PICTURE = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"
# One of each family stands for the others, which differ in widths, depths and input size only.
NAMES = ["lpn-50", "mobileposenet-256x192", "slbnet", "elpn-v1", "efficienthrnet-h-4", "person-detector"]
HEAVY = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}
KNOWN = HEAVY | {
    "ADD", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "DEPTH_TO_SPACE", "DEQUANTIZE", "L2_NORMALIZATION", "LEAKY_RELU",
    "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "QUANTIZE", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "STRIDED_SLICE", "SUB", "SUM", "TRANSPOSE",
}  # fmt: skip


class Converted(NamedTuple):
    design: Design
    network: torch.nn.Module
    files: dict[str, Path]
    pictures: np.ndarray
    """(8, H, W, 3) uint8, crops of a photograph."""


def crops(design: Design, count: int = 8) -> np.ndarray:
    """Crops of the demo's photograph in a network's input size."""
    rng = np.random.default_rng(0)
    corners = rng.uniform((0, 0, 300, 300), (150, 150, 500, 500), (count, 4)).astype(np.float32)
    matrices = crop_matrices(*crop_regions(corners, design.input_size), design.input_size)
    return warp_crops(read_picture(PICTURE), matrices, design.input_size)


@pytest.fixture(scope="session")
def python() -> Path:
    try:
        return find_python()
    except MissingDependencyError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{error}")


@pytest.fixture(scope="module", params=NAMES)
def converted(request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    design = DESIGNS[request.param]
    torch.manual_seed(0)
    network = with_statistics(design.network())
    pictures = crops(design)
    folder = tmp_path_factory.mktemp(request.param)
    inputs, names = [picture[None] for picture in pictures], ("fp32", "int8")
    files = convert(
        network, design.input_size, design.outputs, folder, names, inputs, python, float_first=design.float_first
    )
    yield Converted(design, network, files, pictures)


def outputs(converted: Converted, precision: str) -> list[np.ndarray]:
    runtime = TFLiteRuntime(converted.files[precision], converted.design.outputs, settings=CPUSettings(2))
    return runtime(converted.pictures)


def expected(converted: Converted) -> list[np.ndarray]:
    with torch.no_grad():
        maps = Normalised(converted.network)(torch.from_numpy(converted.pictures).permute(0, 3, 1, 2))
    return [output.numpy() for output in (maps if isinstance(maps, tuple) else (maps,))]


class Operators(NamedTuple):
    every: set[str]
    left: set[str]
    """Those that no delegate runs."""


def operators(path: Path) -> Operators:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {tensor: node for node in plain for tensor in node["outputs"]}
    covered: set[int] = set()
    for delegate in (node for node in nodes if node["op_name"] == "DELEGATE"):
        given, wanted = set(delegate["inputs"]), list(delegate["outputs"])
        while wanted:
            tensor = wanted.pop()
            if tensor in maker and tensor not in given and maker[tensor]["index"] not in covered:
                covered.add(maker[tensor]["index"])
                wanted += list(maker[tensor]["inputs"])
    left = {node["op_name"] for node in plain if node["index"] not in covered}
    return Operators({node["op_name"] for node in plain}, left)


def test_fp32_equals_torch(converted: Converted) -> None:
    for got, wanted in zip(outputs(converted, "fp32"), expected(converted), strict=True):
        assert got.shape == wanted.shape and got.dtype == np.float32
        assert np.abs(got - wanted).max() <= 1e-3 * np.ptp(wanted)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_xnnpack_runs_every_heavy_layer(converted: Converted, precision: str) -> None:
    found = operators(converted.files[precision])
    assert found.every <= KNOWN, "neither Flex nor custom operators, nor any we did not choose"
    assert not found.left & HEAVY
    assert found.every & HEAVY


def test_int8_is_integer_but_for_the_first_convolutions(converted: Converted) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(converted.files["int8"]), experimental_op_resolver_type=without)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    (picture,) = interpreter.get_input_details()
    assert picture["dtype"] == np.uint8
    assert picture["quantization"] == (1.0, 0), "a pixel stands for itself"
    floating = 0
    for node in interpreter._get_ops_details():
        made = {tensors[index]["dtype"] for index in node["outputs"]}
        convolution = node["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")
        if floating < converted.design.float_first:
            floating += convolution and made == {np.float32}
            continue
        assert made <= ({np.float32} if node["op_name"] == "DEQUANTIZE" else {np.int8}), node["op_name"]
        if convolution:
            weights = tensors[node["inputs"][1]]
            channels = weights["shape"][0 if node["op_name"] == "CONV_2D" else -1]
            assert weights["dtype"] == np.int8
            assert len(weights["quantization_parameters"]["scales"]) == channels
    assert floating == converted.design.float_first


def test_int8_stays_close(converted: Converted) -> None:
    for got, wanted in zip(outputs(converted, "int8"), expected(converted), strict=True):
        assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.9


def test_a_cut_file_is_refused(converted: Converted, tmp_path: Path) -> None:
    content = converted.files["int8"].read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"cut\.tflite"):
        TFLiteRuntime(tmp_path / "cut.tflite")


def test_fp16_keeps_half_the_weights(python: Path, tmp_path: Path) -> None:
    design = DESIGNS["person-detector"]
    torch.manual_seed(0)
    network = with_statistics(design.network())
    files = convert(network, design.input_size, design.outputs, tmp_path, ("fp32", "fp16"), python=python)
    assert files["fp16"] == tmp_path / "tflite" / "fp16.tflite"
    assert files["fp16"].stat().st_size < 0.55 * files["fp32"].stat().st_size
    half = outputs(Converted(design, network, files, crops(design, 2)), "fp16")
    full = outputs(Converted(design, network, files, crops(design, 2)), "fp32")
    assert np.abs(half[0] - full[0]).max() <= 0.01 * np.ptp(full[0])


def test_a_gate_that_calibration_never_opened_can_be_run(python: Path, tmp_path: Path) -> None:
    """XNNPACK used to abort the process over the scale of its zeros."""
    network = with_statistics(MobilePoseNet())
    torch.nn.init.constant_(network.upsampling[1].attention.expand.bias, -100.0)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 1, 96, 64, 3), dtype=np.uint8)
    (path,) = convert(network, (64, 96), ("maps",), tmp_path, ("int8",), list(pictures), python).values()
    with torch.no_grad():
        wanted = Normalised(network)(torch.from_numpy(pictures[0]).permute(0, 3, 1, 2)).numpy()
    (got,) = TFLiteRuntime(path)(pictures[0])
    assert np.abs(got - wanted).mean() < 0.1 * np.ptp(wanted)


def test_what_fails_in_the_other_environment_is_reported(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho onnx2tf gave up >&2\nexit 1\n")
    python.chmod(0o755)
    design = DESIGNS["person-detector"]
    with pytest.raises(ConversionError, match=r"failed in .*python:\nonnx2tf gave up"):
        convert(design.network(), design.input_size, design.outputs, tmp_path, ("fp32",), python=python)


def test_the_environment_is_named_or_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for path in (one, two, three):
        path.touch()
    monkeypatch.setattr(to_tflite, "DEFAULT_PYTHON", three)
    monkeypatch.setattr(to_tflite, "find_spec", lambda name: None)
    monkeypatch.setenv(to_tflite.PYTHON_VARIABLE, str(two))
    assert find_python(one) == one
    assert find_python() == two
    monkeypatch.delenv(to_tflite.PYTHON_VARIABLE)
    assert find_python() == three
    three.unlink()
    with pytest.raises(MissingDependencyError, match=r"onnx2tf is not installed.*\.venv-tflite.*tflite-convert"):
        find_python()
    with pytest.raises(MissingDependencyError, match=r"gone does not exist.*--tflite-python PATH"):
        find_python(tmp_path / "gone")
