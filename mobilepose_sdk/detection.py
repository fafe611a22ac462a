"""Finding people in a whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import runtimes
from mobilepose_sdk.boxes import box_nms
from mobilepose_sdk.decoding.distances import NMS_IOU, STRIDES, decode_distances
from mobilepose_sdk.models import DEFAULT_DETECTOR, find_model
from mobilepose_sdk.opencv import cv2
from mobilepose_sdk.options import number
from mobilepose_sdk.preprocessing import as_channels, letterbox
from mobilepose_sdk.sources import PictureSource, read_picture
from mobilepose_sdk.threads import Threads, thread_count
from mobilepose_sdk.throughput import GROUP

Array = NDArray[Any]
SECOND_LOOK = 2 / 3
"""Size of the second look at a picture, in parts of the first, for those who fill the picture: they are too large for
the network in the first (``benchmarks/looks.py`` counts them)."""
LARGE = 0.5
"""Share of the picture's width or height from which on somebody seen in the second look counts; smaller people are seen
better in the first."""


class PersonDetector:
    """The packaged person detector; callable on BGR pictures.

    It looks twice, the second time at a smaller copy of the picture, for those who nearly fill it.

    Args:
        model: name of a packaged detector, or a model folder.
        min_score: people below this score, above 0 and under 1, are left out; the card's threshold when None.
        runtime, device: as :class:`~mobilepose_sdk.PoseEstimator` has them.
        precision: the card's first when None.
        threads: CPU threads; ``"auto"`` as for the estimator.

    Raises:
        ModelNotFoundError, ModelFileError, MissingDependencyError: see :func:`mobilepose_sdk.runtimes.load`.
        InvalidInputError: ``min_score`` or ``threads`` is out of range.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_DETECTOR,
        *,
        min_score: float | None = None,
        runtime: str = "openvino",
        precision: str | None = None,
        threads: int | Literal["auto"] | Threads = "auto",
        device: str = "CPU",
    ) -> None:
        self.card = find_model(model, "detector")
        self.min_score = (
            self.card.min_score if min_score is None else number("min_score", min_score, most=1, inside=True)
        )
        threads = threads if isinstance(threads, Threads) else Threads(thread_count(threads))
        self._at_once = GROUP if threads.mode == "throughput" else 1
        self._runtime = runtimes.load(self.card, runtime, precision, threads, device)

    def __call__(self, image: PictureSource) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find people.

        Args:
            image: (H, W, 3) uint8, BGR; or any other picture that the estimator takes.

        Returns:
            boxes (N, 4) float32 xyxy in pixels of the picture, clipped to it, and scores (N,) float32, 0 to 1, highest
            first.

        Raises:
            SourceNotFoundError, SourceReadError, InvalidInputError, InvalidTypeError: as the estimator's call.
        """
        return self.batch([read_picture(image)])[0]

    def batch(self, images: Sequence[Array]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Find people in several pictures: what a call returns, for each.

        In throughput mode up to :data:`mobilepose_sdk.throughput.GROUP` pictures share a pass through the network. In
        latency mode they do not: getting the network ready for that takes as long as it saves on hundreds of pictures.
        """
        groups = (images[start : start + self._at_once] for start in range(0, len(images), self._at_once))
        return [found for group in groups for found in self._look(group)]

    def _look(self, images: Sequence[Array]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Both looks at pictures that share a pass."""
        copies = [letterbox(as_channels(image, self.card.color), self.card.input_size) for image in images]
        # Copies of the copies: shrinking a large picture again would take longer than the network does.
        smaller = [cv2.resize(copy, self._second_size, interpolation=cv2.INTER_LINEAR) for copy, _ in copies]
        looks = zip(self._people([copy for copy, _ in copies]), self._people(smaller))
        return [self._joined(image, scale, *two) for image, (_, scale), two in zip(images, copies, looks)]

    def _joined(
        self, image: Array, scale: Array, first: tuple[Array, Array], second: tuple[Array, Array]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The people of both looks, each once, in pixels of the picture."""
        (boxes, scores), (more, sure) = first, second
        more = more * np.tile(np.divide(self.card.input_size, self._second_size), 2)
        extent = np.array(image.shape[1::-1], dtype=np.float32)
        large = (more[:, 2:] - more[:, :2] >= LARGE * extent * scale).any(axis=1)
        boxes, scores = np.concatenate([boxes, more[large]]), np.concatenate([scores, sure[large]])
        kept = box_nms(boxes, scores, NMS_IOU)
        boxes, scores = np.clip(boxes[kept] / np.tile(scale, 2), 0, np.tile(extent, 2)).astype(np.float32), scores[kept]
        visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return boxes[visible], scores[visible]

    @property
    def _second_size(self) -> tuple[int, int]:
        """Width and height of the second look: the nearest that the network's maps divide."""
        width, height = (max(round(side * SECOND_LOOK / STRIDES[-1]), 1) * STRIDES[-1] for side in self.card.input_size)
        return width, height

    def _people(self, copies: list[Array]) -> list[tuple[Array, Array]]:
        """Boxes (N, 4), in pixels of each copy of a picture, and scores (N,); the copies have one size."""
        pictures = np.stack(copies)
        if self._runtime.fixed_size:
            width, height = self.card.input_size
            bottom, right = height - pictures.shape[1], width - pictures.shape[2]
            pictures = np.pad(pictures, ((0, 0), (0, bottom), (0, right), (0, 0)))
        return [decode_distances(maps, self.min_score) for maps in zip(*self._runtime(pictures))]

    def close(self) -> None:
        """Free the model's memory."""
        self._runtime.close()
