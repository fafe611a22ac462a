"""Top-down: find people, crop each, run the network on the crops, decode the heatmaps, go back to the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import checked_boxes
from mobilepose_sdk.decoding.heatmaps import Method, decode
from mobilepose_sdk.decoding.nms import Method as NMSMethod
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.errors import InvalidInputError, ModelFileError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.pipelines.people import People, card_skeleton
from mobilepose_sdk.preprocessing import (
    PADDING,
    apply_affine,
    as_channels,
    crop_matrices,
    crop_regions,
    invert_affine,
    warp_crops,
)
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.runtimes import Runtime
from mobilepose_sdk.skeleton import Skeleton

Array = NDArray[Any]
DECODER_SETTINGS = tuple(signature(decode).parameters)[1:]
"""What a top-down card's decoder may hold: options of :func:`mobilepose_sdk.decoding.heatmaps.decode`."""
Detector = Callable[[Array], Any]
"""Takes a (H, W, 3) uint8 BGR picture; returns xyxy boxes (N, 4), or such boxes and their scores (N,)."""


@dataclass(frozen=True)
class TopDown:
    """A detector, and a network for one person with its preparation and decoding.

    Attributes:
        card: the model.
        runtime: the loaded model; its first output is the heatmaps.
        skeleton: keypoint layout of the heatmaps.
        method: see :func:`mobilepose_sdk.decoding.heatmaps.decode`.
        beta: likewise.
        blur: likewise.
        flip_test: also run every crop mirrored and average the heatmaps (SLBNet §4): twice the work.
        detector: finds people; every picture is one person when None.
        nms: merges several detections of one person; None does not.
        owns_detector: whether closing the pipeline closes the detector.
    """

    card: ModelCard
    runtime: Runtime
    skeleton: Skeleton
    method: Method
    beta: float
    blur: float | None = None
    flip_test: bool = False
    detector: Detector | None = None
    nms: NMSMethod | None = "hard"
    owns_detector: bool = False

    def __call__(self, images: list[Array], boxes: list[Array | None], *, exact: bool = True) -> list[PoseResult]:
        """See :class:`mobilepose_sdk.pipelines.people.Pipeline`; given boxes are never merged."""
        found = self._found(images, boxes)
        # A box that was found may cut off a hand: its crop is a wide one, whatever suits exact boxes best.
        wide = max(self.card.padding, PADDING)
        paddings = [self.card.padding if exact and given is not None else wide for given in boxes]
        poses = self.poses(images, [places for places, _ in found], paddings)
        results = []
        for image, given, (places, scores), pose in zip(images, boxes, found, poses):
            people = People(places, scores, *pose)
            if given is None:
                people = people.merged(self.nms, self.skeleton)
            results.append(people.result(image, self.skeleton))
        return results

    @property
    def find_boxes(self) -> Callable[[Array], Array] | None:
        """See :class:`mobilepose_sdk.pipelines.people.Pipeline`."""
        return None if self.detector is None else lambda image: self._found([image], [None])[0][0]

    def close(self) -> None:
        self.runtime.close()
        if self.owns_detector and isinstance(self.detector, PersonDetector):
            self.detector.close()

    def poses(
        self, images: list[Array], boxes: list[Array], paddings: Sequence[float] | None = None
    ) -> list[tuple[Array, Array]]:
        """Poses of several pictures, with all their crops in one go.

        Args:
            images: (H, W, 3) uint8 BGR pictures.
            boxes: as many (N, 4) xyxy arrays.
            paddings: how much each picture's boxes are grown; as the card says when omitted.

        Returns:
            for each picture keypoints (N, K, 2) float32, pixels of that picture, and scores (N, K) float32.
        """
        size = self.card.input_size
        paddings = [self.card.padding] * len(boxes) if paddings is None else paddings
        matrices = [crop_matrices(*crop_regions(b, size, padding), size) for b, padding in zip(boxes, paddings)]
        counts = [len(b) for b in boxes]
        if sum(counts) == 0:
            k = len(self.skeleton)
            return [(np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)) for _ in images]
        warped = [warp_crops(image, m, size) for image, m in zip(images, matrices)]
        crops = warped[0] if len(warped) == 1 else np.concatenate(warped)
        xy, scores = decode(self._heatmaps(as_channels(crops, self.card.color)), self.method, self.beta, self.blur)
        keypoints = apply_affine(invert_affine(np.concatenate(matrices)), xy * self.card.stride)
        ends = accumulate(counts)
        return [(keypoints[end - n : end], scores[end - n : end]) for n, end in zip(counts, ends)]

    def _found(self, images: list[Array], boxes: list[Array | None]) -> list[tuple[Array, Array]]:
        """For each picture boxes (N, 4) and their scores (N,): given, detected, or the whole picture."""
        searched = [image for image, given in zip(images, boxes) if given is None]
        detected = iter(self._detected(searched))
        found = []
        for image, given in zip(images, boxes):
            places, scores = next(detected) if given is None else (given, None)
            places = checked_boxes(places, (image.shape[1], image.shape[0]))
            scores = np.ones(len(places), np.float32) if scores is None else _checked_scores(scores, len(places))
            found.append((places, scores))
        return found

    def _detected(self, images: list[Array]) -> list[tuple[Any, Any]]:
        """For each picture the detector's boxes and, where it gives any, scores, not yet checked."""
        if self.detector is None:
            return [([[0, 0, image.shape[1], image.shape[0]]], None) for image in images]
        if isinstance(self.detector, PersonDetector):
            return self.detector.batch(images)
        answers = [self.detector(image) for image in images]
        return [answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None) for answer in answers]

    def _heatmaps(self, crops: Array) -> Array:
        if self.flip_test:
            return flip_tested(self.runtime, crops, self.card.stride, self.skeleton)
        heatmaps: Array = self.runtime(crops)[0]
        return heatmaps


def flip_tested(runtime: Runtime, crops: Array, stride: int, skeleton: Skeleton) -> Array:
    """Heatmaps (N, K, H, W), the mean of those of crops (N, H, W, 3) uint8 and of the mirrored crops.

    The crops are mirrored so that their first and last *heatmap* columns, not their own, change places. Heatmap pixel h
    is input pixel stride·h: mirrored about the crop's middle, the two heatmaps that are averaged would lie stride - 1
    input pixels apart.
    """
    last = crops.shape[2] - stride
    mirrored = np.zeros_like(crops, order="C")
    mirrored[:, :, : last + 1] = crops[:, :, last::-1]
    heatmaps, back = runtime(crops)[0], runtime(mirrored)[0]
    return np.asarray((heatmaps + back[:, skeleton.flip_indices, :, ::-1]) * np.float32(0.5))


def open_top_down(
    card: ModelCard,
    load: Callable[[], Runtime],
    load_detector: Callable[[str | Path], PersonDetector],
    *,
    detector: str | Path | Detector | None,
    decoder: Method | None,
    nms: NMSMethod | None,
    flip_test: bool,
    scales: Sequence[float] | None,
    blur: float | None = None,
) -> TopDown:
    """A top-down model as its card and the caller want it; the options are those of the estimator.

    Args:
        card: the model.
        load: loads its network.
        load_detector: loads a packaged detector.

    Raises:
        InvalidInputError: ``scales`` were given, or ``blur`` is out of range.
        ModelFileError: the card does not say how to decode, or not so that one could.
    """
    if scales is not None:
        raise InvalidInputError(
            f"scales are for bottom-up models, which look at whole pictures; {card.name} is top-down: it brings every "
            "person to one size before it looks. Leave scales out"
        )
    own = _decoder_settings(card)
    settings = {**own, "method": decoder or own["method"], "blur": own["blur"] if blur is None else blur or None}
    _try_out(settings)
    skeleton, runtime = card_skeleton(card), load()
    packaged = isinstance(detector, (str, Path))
    found_by = load_detector(detector) if isinstance(detector, (str, Path)) else detector
    return TopDown(
        card, runtime, skeleton, **settings, flip_test=flip_test, detector=found_by, nms=nms, owns_detector=packaged
    )


def _decoder_settings(card: ModelCard) -> dict[str, Any]:
    """A card's ``method``, ``beta`` and ``blur``, see :func:`mobilepose_sdk.decoding.heatmaps.decode`."""
    unknown = [name for name in card.decoder if name not in DECODER_SETTINGS]
    if unknown:
        raise ModelFileError(
            f"the card of {card.name} has decoder settings that decoding does not: {', '.join(unknown)}; "
            f"accepted: {', '.join(DECODER_SETTINGS)}"
        )
    try:
        settings = {"method": card.decoder["method"], "beta": card.decoder["beta"], "blur": card.decoder.get("blur")}
    except KeyError as error:
        raise ModelFileError(f"the card of {card.name} lacks a decoder setting: {error}") from error
    try:
        _try_out(settings)
    except InvalidInputError as error:
        raise ModelFileError(f"the card of {card.name} has a decoder setting out of range: {error}") from error
    return settings


def _try_out(settings: dict[str, Any]) -> None:
    """Decode one pixel, so that settings out of range are known before the first picture."""
    decode(np.zeros((1, 1, 1, 1), np.float32), **settings)


def _checked_scores(scores: Any, count: int) -> NDArray[np.float32]:
    """A detector's scores for ``count`` boxes."""
    try:
        array = np.asarray(scores, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the detector's scores must be {count} numbers, one a box: {error}") from error
    if array.shape != (count,) or not np.isfinite(array).all():
        raise InvalidInputError(
            f"the detector's scores must be {count} finite numbers, one a box; got {array.tolist()}"
        )
    return array
