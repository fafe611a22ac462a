"""Finding people in a whole picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import runtimes
from mobilepose_sdk.decoding.distances import decode_distances
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.models import DEFAULT_DETECTOR, find_model
from mobilepose_sdk.preprocessing import as_channels, letterbox
from mobilepose_sdk.threads import Threads

Array = NDArray[Any]


class PersonDetector:
    """The packaged person detector; callable on BGR pictures.

    Args:
        model: name of a packaged detector, or a model folder.
        min_score: people below this score, above 0 and under 1, are left out; the card's threshold when None.
        precision: the card's first when None.
        threads: CPU threads, see :func:`mobilepose_sdk.runtimes.load`.

    Raises:
        ModelNotFoundError, ModelFileError: see :func:`mobilepose_sdk.runtimes.load`.
        InvalidInputError: ``min_score`` is out of range.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_DETECTOR,
        *,
        min_score: float | None = None,
        runtime: str = "openvino",
        precision: str | None = None,
        threads: int | Threads = 0,
        device: str = "CPU",
    ) -> None:
        self.card = find_model(model, "detector")
        self.min_score = self.card.min_score if min_score is None else min_score
        if not 0 < self.min_score < 1:
            raise InvalidInputError(f"min_score must lie between 0 and 1, got {min_score!r}")
        self._runtime = runtimes.load(self.card, runtime, precision, threads, device)

    def __call__(self, image: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find people.

        Args:
            image: (H, W, 3) uint8, BGR.

        Returns:
            boxes (N, 4) float32 xyxy in pixels of the picture, clipped to it, and scores (N,) float32, 0 to 1, highest
            first.
        """
        picture, scale = letterbox(as_channels(image, self.card.color), self.card.input_size)
        outputs = [output[0] for output in self._runtime(picture[None])]
        boxes, scores = decode_distances(outputs, self.min_score)
        boxes = np.clip(boxes / np.tile(scale, 2), 0, np.tile(image.shape[1::-1], 2)).astype(np.float32)
        visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return boxes[visible], scores[visible]

    def close(self) -> None:
        """Free the model's memory."""
        self._runtime.close()
