"""TFLite by LiteRT (ai-edge-litert): the only module that imports it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.core_budget import shared_budget
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, ModelFileError, StateError
from mobilepose_sdk.threads import CPUSettings, Threads, settings_for
from mobilepose_sdk.topology import read_topology


class TFLiteRuntime:
    """A model that runs one picture at a time, with an interpreter for every thread that calls at the same time.

    A batch runs picture by picture: XNNPACK prepares its kernels for one shape, and gains nothing from larger ones.

    Args:
        model: the ``.tflite``; its input is uint8 (1, H, W, 3), and a signature names its outputs.
        outputs: names of the outputs in the order wanted, as files may list them in another; the file's own order when
            empty.
        settings: threads on the processor; what suits it when None.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        ModelFileError: LiteRT cannot read the file, or it has other outputs.
    """

    fixed_size = True

    def __init__(self, model: Path, outputs: Sequence[str] = (), *, settings: CPUSettings | None = None) -> None:
        self._library = _import_litert()
        self._path, self._names = model, tuple(outputs)
        try:
            self._content = model.read_bytes()
        except OSError as error:
            raise ModelFileError(f"model file {model} cannot be read: {error}") from error
        settings = settings or settings_for(read_topology(), Threads())
        self._threads = settings.threads_a_stream
        self._cores, self._budget = settings.cores_an_inference, shared_budget()
        self._lock, self._closed = threading.Lock(), False
        self._idle = [_Loaded(self._library, self._content, model, self._names, self._threads)]

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        loaded = self._take()
        try:
            if batch.shape[1:] != loaded.shape:
                raise InvalidInputError(
                    f"{self._path} takes pictures (H, W, 3) of {loaded.shape}, got {batch.shape[1:]}; a TFLite file "
                    "has one size: use runtime='openvino' for several scales"
                )
            with self._budget.taken(self._cores):
                results = [loaded.run(picture) for picture in batch]
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(loaded)
        return [np.concatenate(parts) for parts in zip(*results)]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._idle = []

    def _take(self) -> _Loaded:
        with self._lock:
            if self._closed:
                raise StateError("the estimator was closed; make a new one")
            if self._idle:
                return self._idle.pop()
        return _Loaded(self._library, self._content, self._path, self._names, self._threads)


class _Loaded:
    """One interpreter: not to be called by two threads at once."""

    def __init__(self, library: Any, content: bytes, path: Path, names: Sequence[str], threads: int) -> None:
        try:
            self._interpreter = library.Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            signature = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"LiteRT cannot load {path}: {error}") from error
        outputs = signature.get_output_details()
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ModelFileError(f"{path} has the outputs {list(outputs)}, but its card names {', '.join(missing)}")
        (picture,) = signature.get_input_details().values()
        self.shape: tuple[int, ...] = tuple(int(side) for side in picture["shape"][1:])
        self._input = picture["index"]
        self._outputs = [outputs[name]["index"] for name in names or outputs]

    def run(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Outputs (1, …) of a picture (H, W, 3), copied out of the interpreter's memory."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _import_litert() -> Any:
    try:
        return import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise MissingDependencyError(
            "runtime='tflite' needs ai-edge-litert: pip install 'mobilepose-sdk[tflite]'"
        ) from error
