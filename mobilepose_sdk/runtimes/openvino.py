"""OpenVINO: the only module that imports it."""

from __future__ import annotations

import re
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, MobilePoseError, ModelFileError

BUCKETS = (1, 2, 4, 8)


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry: a missing telemetry package makes it use its own empty stand-in."""
    hidden = "openvino_telemetry" not in sys.modules
    if hidden:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return import_module("openvino")
    finally:
        if hidden:
            del sys.modules["openvino_telemetry"]


class OpenVINORuntime:
    """A model compiled for static batch sizes 1, 2, 4 and 8, each when it is first needed.

    Larger batches run in pieces, odd ones padded: a dynamic batch would let memory grow and break INT8 on some CPUs.

    Args:
        model: the IR's ``.xml``; its ``.bin`` lies beside it.
        threads: CPU threads; 0 leaves the number to OpenVINO.
        device: OpenVINO's device name.

    Raises:
        ModelFileError: OpenVINO cannot read or compile the files.
        InvalidInputError: OpenVINO has no such device.
    """

    def __init__(self, model: Path, *, threads: int = 0, device: str = "CPU") -> None:
        _check_is_ir(model)
        self._core = import_openvino().Core()
        known = self._core.available_devices
        if device.split(".")[0].split(":")[0] not in {*(name.split(".")[0] for name in known), "AUTO"}:
            raise InvalidInputError(f"OpenVINO has no device {device!r} here; available: {', '.join(known)}")
        self._path, self._device = model, device
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        self._compiled: dict[int, Any] = {}
        self._idle: dict[int, list[Any]] = {bucket: [] for bucket in BUCKETS}
        self._lock = threading.Lock()
        self._take(1, self._idle)  # a broken file fails here, not at the first picture

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        pieces = [self._run(batch[start : start + BUCKETS[-1]]) for start in range(0, len(batch), BUCKETS[-1])]
        return pieces[0] if len(pieces) == 1 else [np.concatenate(parts) for parts in zip(*pieces)]

    def close(self) -> None:
        with self._lock:
            self._compiled.clear()
            self._idle = {}

    def _run(self, piece: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        count = len(piece)
        bucket = next(size for size in BUCKETS if size >= count)
        if bucket > count:
            piece = np.concatenate([piece, np.zeros((bucket - count, *piece.shape[1:]), dtype=np.uint8)])
        idle = self._idle
        request = self._take(bucket, idle)
        try:
            request.infer([np.ascontiguousarray(piece)], share_inputs=True)
            # Copied: the request's own memory is overwritten by the next caller.
            return [np.array(tensor.data[:count], dtype=np.float32) for tensor in request.output_tensors]
        finally:
            idle[bucket].append(request)

    def _take(self, bucket: int, idle: dict[int, list[Any]]) -> Any:
        """A free inference request: one each for threads that call at the same time."""
        with self._lock:
            if not idle:
                raise MobilePoseError("the estimator was closed; make a new one")
            if idle[bucket]:
                return idle[bucket].pop()
            if bucket not in self._compiled:
                self._compiled[bucket] = self._compile(bucket)
            return self._compiled[bucket].create_infer_request()

    def _compile(self, bucket: int) -> Any:
        try:
            model = self._core.read_model(self._path)
            if bucket != 1:
                model.reshape([bucket, *list(model.input().shape)[1:]])
            return self._core.compile_model(model, self._device, self._config)
        except RuntimeError as error:
            raise ModelFileError(f"OpenVINO cannot load {self._path}: {error}") from error


def _check_is_ir(path: Path) -> None:
    """Refuse what is not OpenVINO's own format.

    OpenVINO would otherwise try its readers of other formats, and loading TensorFlow's can crash a process that also
    uses torch.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(1000)
    except OSError as error:
        raise ModelFileError(f"model file {path} cannot be read: {error}") from error
    if not re.search(rb"<net\s[^>]*version=", head):
        raise ModelFileError(f"{path} is not an OpenVINO IR: it does not begin with <net … version=…>")
