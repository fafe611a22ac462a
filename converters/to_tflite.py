"""A trained network to TFLite files: uint8 pictures in, normalisation inside, float outputs, through onnx2tf.

onnx2tf and TensorFlow pin packages that torch and the SDK want newer, so they live in an environment of their own, the
extra ``tflite-convert``. :func:`convert` runs beside torch: it writes the network as ONNX, and calibration inputs, into
a folder and starts ``python -m converters.to_tflite FOLDER`` with the other environment's Python, which runs
:func:`main`. This module therefore imports neither torch nor TensorFlow at its top.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import MissingDependencyError, MobilePoseError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
PYTHON_VARIABLE = "MOBILEPOSE_TFLITE_PYTHON"
DEFAULT_PYTHON = ROOT / ".venv-tflite" / "bin" / "python"
CALIBRATION_COUNT = 128
"""Inputs the integer ranges are taken from: TensorFlow's calibration is slow, and takes the widest range it saw."""
TOLERABLE_LOSS = 0.1
NO_RANGE = 1e-6
"""A tensor with a smaller scale held nothing but zeros in calibration."""
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""onnx2tf looks for this file in the working folder, and downloads it where it is missing."""


class ConversionError(MobilePoseError, RuntimeError):
    """The conversion to TFLite failed."""


def find_python(given: Path | None = None) -> Path:
    """The Python of the environment that converts to TFLite.

    The one given, else the one in ``MOBILEPOSE_TFLITE_PYTHON``, else this one where it has onnx2tf, else the one in
    ``.venv-tflite`` of the checkout.

    Raises:
        MissingDependencyError: there is none; the message says how to make one.
    """
    named = given or (Path(os.environ[PYTHON_VARIABLE]) if PYTHON_VARIABLE in os.environ else None)
    if named is None and find_spec("onnx2tf"):
        return Path(sys.executable)
    python = named or DEFAULT_PYTHON
    if not python.exists():
        raise MissingDependencyError(
            f"{f'{python} does not exist' if named else 'onnx2tf is not installed'}: conversion to TFLite needs an "
            "environment of its own, with Python 3.10 to 3.12. Make it in the checkout with "
            "`python3 -m venv .venv-tflite && .venv-tflite/bin/pip install '.[tflite-convert]'`; one elsewhere is "
            f"named by --tflite-python PATH or by {PYTHON_VARIABLE}"
        )
    return python


def convert(
    network: nn.Module,
    input_size: tuple[int, int],
    outputs: tuple[str, ...],
    folder: Path,
    precisions: Sequence[str],
    inputs: Sequence[NDArray[np.uint8]] = (),
    python: Path | None = None,
    float_first: int = 0,
) -> dict[str, Path]:
    """Write ``tflite/<precision>.tflite`` for one picture at a time.

    The input is uint8 (1, H, W, 3), each output float32 of the network's own shape, named in the file's signature.

    Args:
        network: takes normalised (N, 3, H, W).
        input_size: (width, height).
        outputs: names for the outputs, in order.
        folder: the model's folder.
        precisions: ``"fp32"``, ``"fp16"`` (weights) and ``"int8"`` (weights, a scale a channel, and activations).
        inputs: calibration inputs for INT8, each (1, H, W, 3) uint8; the first :data:`CALIBRATION_COUNT` are used.
        python: see :func:`find_python`.
        float_first: see :func:`converters.quantization.quantize`.

    Returns:
        the files by precision.

    Raises:
        MissingDependencyError: there is no environment to convert in.
        ConversionError: onnx2tf or TensorFlow failed.
    """
    from converters.tflite_graph import export_onnx
    from converters.training.loop import MEAN

    if "int8" in precisions:
        _warn_of_spread_attention(network, inputs)
        network = _made_even(network, inputs)
    python = find_python(python)
    (folder / "tflite").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        export_onnx(network, input_size, outputs, work / "network.onnx")
        job = {
            "input_size": input_size,
            "outputs": outputs,
            "mean": [255 * value for value in MEAN],
            "precisions": list(precisions),
            "float_first": float_first,
        }
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        if "int8" in precisions:
            np.save(work / "inputs.npy", np.concatenate(inputs[:CALIBRATION_COUNT]))
        _run(python, work)
        files = {}
        for precision in precisions:
            new = shutil.move(work / f"{precision}.tflite", folder / "tflite" / f"{precision}.new")
            # Put in place whole: writing over a file that a running program has mapped would crash that program.
            files[precision] = Path(new).replace(folder / "tflite" / f"{precision}.tflite")
    return files


def _normalised(inputs: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(N, 3, H, W) float."""
    import torch

    from converters.training.loop import Normalised

    pictures = torch.from_numpy(np.concatenate(inputs)).permute(0, 3, 1, 2)
    with torch.no_grad():
        normalised: Tensor = Normalised(torch.nn.Identity())(pictures)
    return normalised


def _made_even(network: nn.Module, inputs: Sequence[NDArray[np.uint8]]) -> nn.Module:
    """The detector with channels of like range; other networks as they are."""
    from converters.equalisation import equalised
    from converters.networks.person_detector import PersonDetector

    return equalised(network, _normalised(inputs[:32])) if isinstance(network, PersonDetector) else network


def _warn_of_spread_attention(network: nn.Module, inputs: Sequence[NDArray[np.uint8]]) -> None:
    from converters.tflite_layers import attention_lost

    lost = attention_lost(network, _normalised(inputs[:8]))
    if lost > TOLERABLE_LOSS:
        log.warning(
            "INT8 loses up to %.0f %% of the attention in a Global Context block, because it is spread over more "
            "pixels than integers can tell apart: measure the INT8 file, or use fp16", 100 * lost
        )  # fmt: skip


def _run(python: Path, work: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    # GLIBC_TUNABLES is set for training; TensorFlow's many small buffers only grow with it.
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [python, "-m", "converters.to_tflite", work], cwd=work, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise ConversionError(f"conversion to TFLite failed in {python}:\n{(done.stdout + done.stderr)[-3000:]}")


def main(folder: Path) -> None:
    """Convert ``network.onnx`` in a folder, as ``job.json`` says, to ``<precision>.tflite`` beside it."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    os.chdir(folder)
    np.save(SAMPLE, np.zeros((20, 128, 128, 3), np.float32))
    model = _keras_model(folder)
    for precision in job["precisions"]:
        (folder / f"{precision}.tflite").write_bytes(_tflite(model, job, precision, folder))


def _keras_model(folder: Path) -> Any:
    import onnx2tf

    from converters import tflite_operators

    tflite_operators.install()
    return onnx2tf.convert(
        input_onnx_file_path=str(folder / "network.onnx"),
        output_folder_path=str(folder / "onnx2tf"),
        not_use_onnxsim=True,  # it folds zero padding into pooling, which then pads with minus infinity
        disable_strict_mode=True,  # the layouts are known, see tflite_operators
        disable_model_save=True,
        verbosity="error",
    )


def _tflite(model: Any, job: dict[str, Any], precision: str, folder: Path) -> bytes:
    import tensorflow as tf

    integer = precision == "int8"
    # An integer file is traced in float: its uint8 input comes from quantizing that input.
    saved = _save(model, job, tf.float32 if integer else tf.uint8, folder / f"saved_{precision}")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if integer:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.representative_dataset = lambda: _calibration(folder / "inputs.npy")
        converter._experimental_calibrate_only = True
    content: bytes = converter.convert()
    if integer:
        content = _with_ranges_for_zeros(_quantized(content, job["float_first"]))
        _check_pixels_are_kept(content)
    return content


def _quantized(calibrated: bytes, float_first: int) -> bytes:
    """The integer file of a calibrated one, the converter's own last step, which alone can leave layers floating."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    kept = _outputs_up_to(calibrated, float_first)
    content: bytes = mlir_quantize(
        calibrated, input_data_type=tf.uint8, output_data_type=tf.float32, denylisted_nodes=kept
    )
    return content


def _outputs_up_to(content: bytes, convolutions: int) -> list[str]:
    """Names of what a file's operators give, from the first one to the last of so many convolutions."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph, names = model.subgraphs[0], []
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    for operator in graph.operators:
        if convolutions == 0:
            break
        names += [graph.tensors[index].name.decode() for index in operator.outputs]
        convolutions -= model.operatorCodes[operator.opcodeIndex].builtinCode in kinds
    return names


def _save(model: Any, job: dict[str, Any], dtype: Any, path: Path) -> Path:
    """A SavedModel around the Keras model: the mean subtracted, outputs in the network's shapes under their names."""
    import tensorflow as tf

    width, height = job["input_size"]
    # A whole row of means: elementwise kernels are slow on rows of three.
    mean = np.tile(np.float32(job["mean"]), (1, 1, width, 1))

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], dtype, name="pictures")])  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> dict[str, Any]:
        maps = model(tf.cast(pictures, tf.float32) - mean)
        named = dict(zip(model.output_names, maps if isinstance(maps, (list, tuple)) else [maps]))
        return {name: tf.transpose(named[name], [0, 3, 1, 2], name=name) for name in job["outputs"]}

    module = tf.Module()
    module.run = run
    tf.saved_model.save(module, str(path), signatures=run)
    return path


def _calibration(path: Path) -> Iterator[list[NDArray[np.float32]]]:
    inputs = np.load(path).astype(np.float32)
    # The input's scale comes from its range, and a pixel must stand for itself.
    inputs[0].flat[:2] = 0, 255
    return ([picture[None]] for picture in inputs)


def _with_ranges_for_zeros(content: bytes) -> bytes:
    """An integer file in which no tensor's scale is all but 0, as where a gate was closed for every calibration input.

    XNNPACK frees memory twice over such a scale. Zeros are zeros at any scale, so there it may be what a hard sigmoid's
    ReLU6 needs, or a number around 1.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            activation = getattr(operator.builtinOptions, "fusedActivationFunction", None)
            clamped = activation == schema.ActivationFunctionType.RELU6
            for output in (graph.tensors[index].quantization for index in operator.outputs):
                if output is not None and output.scale is not None and output.scale.max() < NO_RANGE:
                    output.scale, output.zeroPoint = ([6 / 255], [-128]) if clamped else ([1 / 128], [0])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _check_pixels_are_kept(content: bytes) -> None:
    import tensorflow as tf

    details = tf.lite.Interpreter(model_content=content).get_input_details()[0]
    scale, zero = details["quantization"]
    if abs(scale - 1) > 1e-6 or zero != 0:
        raise ConversionError(f"the integer file's input has scale {scale} and zero point {zero}, not 1 and 0")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
