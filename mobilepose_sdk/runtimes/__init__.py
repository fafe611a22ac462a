"""Running a model file: a small protocol, and one module a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import tuning_store
from mobilepose_sdk.errors import InvalidInputError, ModelNotFoundError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.options import whole_number
from mobilepose_sdk.threads import MOST_THREADS, CPUSettings, Threads, settings_for
from mobilepose_sdk.topology import read_topology

RuntimeName = Literal["openvino", "tflite"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)


class Runtime(Protocol):
    """A loaded model. May be called from several threads at once."""

    @property
    def fixed_size(self) -> bool:
        """Whether it takes pictures of the card's size only."""

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Outputs (N, …) float32 of a batch (N, H, W, 3) uint8, N ≥ 1, in the model's own order.

        H and W are those of the card, or others that the network can take, where the size is not fixed.
        """

    def close(self) -> None:
        """Free the model's memory; calling it again does nothing."""


def load(card: ModelCard, runtime: str, precision: str | None, threads: int | Threads, device: str) -> Runtime:
    """Load a model.

    Args:
        card: which one.
        runtime: one of :data:`RUNTIMES`.
        precision: ``"int8"``, ``"fp16"``, …; the card's first when None.
        threads: CPU threads to use, or those and what for; 0 is what `mobilepose tune` found best, or else what suits
            the processor.
        device: an OpenVINO device name.

    Raises:
        InvalidInputError: unknown runtime, a device it does not run on, or no number of threads.
        MissingDependencyError: the runtime's library is not installed.
        ModelNotFoundError: the card has no files for it.
        ModelFileError: a file is missing, altered or unreadable.
    """
    precision = precision_of(card, runtime, precision)
    wanted = threads if isinstance(threads, Threads) else Threads(threads)
    wanted = replace(wanted, count=whole_number("threads", wanted.count, least=0, most=MOST_THREADS))
    files = card.verified_files(runtime, precision)
    outputs = [output["name"] for output in card.outputs]
    return open_files(runtime, files, cpu_settings(card, runtime, precision, wanted), device, outputs)


def precision_of(card: ModelCard, runtime: str, precision: str | None) -> str:
    """The precision to run a model at: the one that is wanted, or the card's first.

    Raises:
        InvalidInputError: unknown runtime, or no name of a precision.
        ModelNotFoundError: the card has no files for it.
    """
    if runtime not in RUNTIMES:
        raise InvalidInputError(f"unknown runtime {runtime!r}; accepted: {', '.join(RUNTIMES)}")
    available: dict[str, Any] = card.files.get(runtime, {})
    if not available:
        raise ModelNotFoundError(f"{card.name} has no files for runtime {runtime!r}; it has {card.precisions}")
    if not isinstance(precision, (str, type(None))):
        raise InvalidInputError(f"a precision is one of {', '.join(available)}, got {precision!r}")
    return precision or next(iter(available))


def open_files(
    runtime: str, files: Sequence[Path], settings: CPUSettings, device: str, outputs: Sequence[str] = ()
) -> Runtime:
    """Open a model's files, in the card's order, with the settings given; ``outputs`` are its outputs' names."""
    if runtime == "tflite":
        if device != "CPU":
            raise InvalidInputError(f"device {device!r} is OpenVINO's; runtime 'tflite' runs on the CPU")
        from mobilepose_sdk.runtimes.tflite import TFLiteRuntime

        return TFLiteRuntime(files[0], outputs, settings=settings)
    from mobilepose_sdk.runtimes.openvino import OpenVINORuntime

    return OpenVINORuntime(files[0], settings=settings, device=device)


def cpu_settings(card: ModelCard, runtime: str, precision: str, wanted: Threads) -> CPUSettings:
    """What a model is run with here: what was asked for, what `mobilepose tune` found, or what suits the processor."""
    topology = read_topology()
    tuned = None
    if wanted.count == 0:
        tuned = tuning_store.read(tuning_store.key_for(topology, card.files[runtime][precision], runtime, wanted.mode))
    return tuned or settings_for(topology, wanted)


def workers(card: ModelCard, runtime: str, precision: str | None, wanted: Threads) -> int:
    """Threads of ours that keep a model's streams busy: 1 for latency, and for throughput half as many again as there
    are streams and at least 2, so that pictures are read while all streams work."""
    if wanted.mode == "latency":
        return 1
    streams = cpu_settings(card, runtime, precision or next(iter(card.files[runtime])), wanted).streams
    return max(2, streams + streams // 2)
