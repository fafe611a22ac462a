"""Running a model file: a small protocol, and one module a library."""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.models import ModelCard

RuntimeName = Literal["openvino"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)


class Runtime(Protocol):
    """A loaded model. May be called from several threads at once."""

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Outputs (N, …) float32 of a batch (N, H, W, 3) uint8, N ≥ 1, in the model's own order."""

    def close(self) -> None:
        """Free the model's memory; calling it again does nothing."""


def load(card: ModelCard, runtime: str, precision: str | None, threads: int, device: str) -> Runtime:
    """Load a model.

    Args:
        card: which one.
        runtime: one of :data:`RUNTIMES`.
        precision: ``"int8"``, ``"fp16"``, …; the card's first when None.
        threads: CPU threads to use; 0 leaves it to the library.
        device: an OpenVINO device name.

    Raises:
        InvalidInputError: unknown runtime.
        ModelNotFoundError: the card has no files for it.
        ModelFileError: a file is missing, altered or unreadable.
    """
    if runtime not in RUNTIMES:
        raise InvalidInputError(f"unknown runtime {runtime!r}; accepted: {', '.join(RUNTIMES)}")
    available: dict[str, Any] = card.files.get(runtime, {})
    files = card.verified_files(runtime, precision or next(iter(available), ""))
    from mobilepose_sdk.runtimes.openvino import OpenVINORuntime

    return OpenVINORuntime(files[0], threads=threads, device=device)
