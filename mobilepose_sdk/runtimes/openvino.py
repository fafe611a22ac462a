"""OpenVINO: the only module that imports it."""

from __future__ import annotations

import os
import re
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.core_budget import shared_budget
from mobilepose_sdk.errors import InvalidInputError, ModelFileError, StateError
from mobilepose_sdk.threads import CPUSettings, Threads, settings_for
from mobilepose_sdk.topology import read_topology

BUCKETS = (1, 2, 4, 8)
WARM_UP, PASSES = 3, 20
"""Of :func:`layer_times`."""
_importing, _starting = threading.Lock(), threading.Lock()
_cores: dict[int, Any] = {}
"""By process: a forked child cannot use what its parent's threads would have to work for."""


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry: a missing telemetry package makes it use its own empty stand-in.

    The first look at a tensor's memory sets up a table in OpenVINO's extension. Two threads that do this at once wait
    for each other for ever, one with Python's global lock, the other with the table's; so it is done here, by one.
    """
    with _importing:
        hidden = "openvino_telemetry" not in sys.modules
        if hidden:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            module = import_module("openvino")
            _ = module.Tensor(np.zeros(1, np.uint8)).data
            return module
        finally:
            if hidden:
                del sys.modules["openvino_telemetry"]


def shared_core() -> Any:
    """This process's ``openvino.Core``, kept to its end.

    A Core gives its thread a stack of its own for signals and, when it goes, puts back the one that was there before:
    after two Cores that went in the order they came, that is the first one's, which is no more. The next Ctrl-C would
    end Python with a segmentation fault.
    """
    library = import_openvino()
    with _starting:
        if os.getpid() not in _cores:
            _cores[os.getpid()] = library.Core()
        return _cores[os.getpid()]


class OpenVINORuntime:
    """A model compiled for static batch sizes 1, 2, 4 and 8, each when it is first needed.

    Larger batches run in pieces, odd ones padded: a dynamic batch would let memory grow and break INT8 on some CPUs.
    Likewise pictures of another size than the file's have the model compiled for theirs, where the network allows it.

    Args:
        model: the IR's ``.xml``; its ``.bin`` lies beside it.
        settings: threads and streams on the processor; what suits it when None.
        device: OpenVINO's device name.
        profile: have OpenVINO count what every layer takes, at a small cost.

    Raises:
        ModelFileError: OpenVINO cannot read or compile the files.
        InvalidInputError: OpenVINO has no such device.
    """

    fixed_size = False

    def __init__(
        self, model: Path, *, settings: CPUSettings | None = None, device: str = "CPU", profile: bool = False
    ) -> None:
        _check_is_ir(model)
        self._core = shared_core()
        known = self._core.available_devices
        named = device.removeprefix("AUTO:").split(",") if isinstance(device, str) else [""]
        if not {name.split(".")[0] for name in named} <= {*(name.split(".")[0] for name in known), "AUTO"}:
            raise InvalidInputError(f"OpenVINO has no device {device!r} here; available: {', '.join(known)}")
        self._path, self._device = model, device
        settings = settings or settings_for(read_topology(), Threads())
        self._config = settings.openvino() if device == "CPU" else {"PERFORMANCE_HINT": "LATENCY"}
        self._config |= {"PERF_COUNT": True} if profile else {}
        self._cores, self._budget = settings.cores_an_inference, shared_budget()
        # The streams' threads would have to work for a forked child, and stay behind.
        self._process = os.getpid() if settings.streams > 1 else None
        own = self._compile()  # a broken file fails here, not at the first picture
        self._compiled: dict[tuple[int, ...], Any] = {tuple(own.input().shape): own}
        self._idle: dict[tuple[int, ...], list[Any]] = {}
        self._lock, self._closed = threading.Lock(), False

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        pieces = [self._run(batch[start : start + BUCKETS[-1]]) for start in range(0, len(batch), BUCKETS[-1])]
        return pieces[0] if len(pieces) == 1 else [np.concatenate(parts) for parts in zip(*pieces)]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._compiled.clear()
            self._idle = {}

    def _run(self, piece: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        count, idle = len(piece), self._idle
        shape = (next(size for size in BUCKETS if size >= count), *piece.shape[1:])
        request = self._take(shape, idle)
        try:
            # Into and out of the request's own memory: OpenVINO takes longer to accept an array than NumPy to copy it.
            # Where fewer pictures are given than fit, what was there before stays in the other places.
            request.input_tensors[0].data[:count] = piece
            with self._budget.taken(self._cores):
                request.infer(share_outputs=True)
            return [np.array(tensor.data[:count], dtype=np.float32) for tensor in request.output_tensors]
        finally:
            idle[shape].append(request)

    def _take(self, shape: tuple[int, ...], idle: dict[tuple[int, ...], list[Any]]) -> Any:
        """A free inference request: one each for threads that call at the same time."""
        if self._process not in (None, os.getpid()):
            raise StateError("the estimator was opened for throughput before this process was forked; open it here")
        with self._lock:
            if self._closed:
                raise StateError("the estimator was closed; make a new one")
            waiting = idle.setdefault(shape, [])
            if waiting:
                return waiting.pop()
            if shape not in self._compiled:
                self._compiled[shape] = self._compile(shape)
            return self._compiled[shape].create_infer_request()

    def _compile(self, shape: tuple[int, ...] | None = None) -> Any:
        """The model for inputs (N, H, W, 3) of one shape, the file's own when None."""
        try:
            model = self._core.read_model(self._path)
            if shape is not None:
                model.reshape(list(shape))
            return self._core.compile_model(model, self._device, self._config)
        except RuntimeError as error:
            raise ModelFileError(f"OpenVINO cannot load {self._path}: {error}") from error


def layer_times(model: Path, settings: CPUSettings, inputs: tuple[int, ...]) -> list[tuple[str, str, float]]:
    """Every layer of the compiled network that does work: name, what runs it, mean milliseconds a pass.

    Args:
        model: the IR's ``.xml``.
        settings: what it is compiled with.
        inputs: shape (N, H, W, 3) of what it is given, N brought up to the next static batch size.

    Raises:
        ModelFileError: OpenVINO cannot read or compile the files.
    """
    runtime = OpenVINORuntime(model, settings=settings, profile=True)
    batch = next((size for size in BUCKETS if size >= inputs[0]), BUCKETS[-1])
    request = runtime._take((batch, *inputs[1:]), runtime._idle)
    total: dict[tuple[str, str], float] = {}
    for number in range(-WARM_UP, PASSES):
        request.infer()
        for layer in request.profiling_info if number >= 0 else ():
            key = (layer.node_name, layer.exec_type)
            total[key] = total.get(key, 0.0) + layer.real_time.total_seconds() * 1e3
    runtime.close()
    return [(name, kind, taken / PASSES) for (name, kind), taken in total.items() if taken > 0]


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
