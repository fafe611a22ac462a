"""The one door: pictures in, :class:`PoseResult` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import runtimes
from mobilepose_sdk.boxes import box_areas, checked_boxes
from mobilepose_sdk.decoding import heatmaps
from mobilepose_sdk.decoding.nms import METHODS as NMS_METHODS
from mobilepose_sdk.decoding.nms import Method as NMSMethod
from mobilepose_sdk.decoding.nms import oks_nms
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.errors import InvalidInputError, InvalidTypeError, MobilePoseError, ModelFileError
from mobilepose_sdk.models import DEFAULT_DETECTOR, DEFAULT_POSE_MODEL, ModelCard, find_model
from mobilepose_sdk.pipelines.top_down import TopDown, person_scores
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import SKELETONS, Skeleton
from mobilepose_sdk.sources import ColorOrder, PictureSource, read_picture

Array = NDArray[Any]
Detector = Callable[[Array], Any]
"""Takes a (H, W, 3) uint8 BGR picture; returns xyxy boxes (N, 4), or such boxes and their scores (N,)."""
DUPLICATE_OKS = 0.7
"""Two detections whose poses agree this much are one person."""
PICTURES_AT_ONCE = 16


class PoseEstimator:
    """Finds people and their keypoints.

    Args:
        model: name of a packaged model (see :func:`mobilepose_sdk.list_models`), or a model folder.
        runtime: the library that runs the networks.
        precision: ``"int8"``, ``"fp16"``, …; the model card's first when None.
        detector: name of a packaged detector; a callable that takes a (H, W, 3) uint8 BGR picture and returns boxes
            (N, 4) xyxy, or boxes and scores (N,); or None, which takes every picture as one person.
        decoder: ``"soft-argmax"`` or ``"quarter-offset"``; the card's when omitted.
        nms: how several detections of one person are merged: ``"hard"``, ``"soft"``, ``"parallel"`` or None. Boxes
            given by the caller are never merged.
        flip_test: run every crop mirrored as well and average; slower, a little more accurate.
        threads: CPU threads, or ``"auto"``.
        color: channel order of arrays that are passed in; files, bytes and PIL images say it themselves.
        device: OpenVINO's device name.

    Raises:
        ModelNotFoundError: no such model, runtime or precision.
        ModelFileError: a model file is missing, altered or unreadable.
        InvalidInputError: an option is not one of those accepted.

    May be called from several threads; use it as a context manager to free its memory early.

    Example:
        >>> result = PoseEstimator()("people.jpg")  # doctest: +SKIP
        >>> result.keypoints.shape  # doctest: +SKIP
        (2, 17, 2)
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_POSE_MODEL,
        *,
        runtime: str = "openvino",
        precision: str | None = None,
        detector: str | Path | Detector | None = DEFAULT_DETECTOR,
        decoder: heatmaps.Method | None = None,
        nms: NMSMethod | None = "hard",
        flip_test: bool = False,
        threads: int | Literal["auto"] = "auto",
        color: ColorOrder = "bgr",
        device: str = "CPU",
    ) -> None:
        count = _thread_count(threads)
        _one_of("color", color, get_args(ColorOrder))
        _one_of("nms", nms, (*NMS_METHODS, None))
        _one_of("decoder", decoder, (*heatmaps.METHODS, None))
        if not (detector is None or isinstance(detector, (str, Path)) or callable(detector)):
            raise InvalidTypeError(f"detector must be a name, a callable or None, got {type(detector).__name__}")
        self.card = find_model(model, "pose")
        self._color, self._nms, self._closed = color, nms, False
        skeleton, method, beta = _read_decoding(self.card)
        self._runtime = runtimes.load(self.card, runtime, precision, count, device)
        self._pipeline = TopDown(
            card=self.card,
            runtime=self._runtime,
            skeleton=skeleton,
            method=decoder or method,
            beta=beta,
            flip_test=flip_test,
        )
        self._own_detector: PersonDetector | None = None
        if isinstance(detector, (str, Path)):
            self._own_detector = PersonDetector(detector, runtime=runtime, threads=count, device=device)
            detector = self._own_detector
        self._detector: Detector | None = detector

    def __call__(self, image: PictureSource, boxes: Array | None = None) -> PoseResult:
        """People in one picture.

        Args:
            image: path, encoded bytes, (H, W, 3) uint8 array or PIL image.
            boxes: (N, 4) xyxy in pixels: skips detection and gives one pose a box, in the same order.

        Returns:
            the poses, highest score first where people were detected; none when nobody was found.

        Raises:
            SourceNotFoundError, SourceReadError: the file does not exist or is no readable picture.
            InvalidInputError, InvalidTypeError: the array or the boxes are not what is accepted.
        """
        return self._estimate([read_picture(image, color=self._color)], [boxes])[0]

    def batch(self, images: Iterable[PictureSource], boxes: Iterable[Array | None] | None = None) -> list[PoseResult]:
        """People in several pictures: results in the order of the pictures.

        Args:
            images: anything that a call takes.
            boxes: one (N, 4) array, or None, a picture; all are detected when omitted.

        Raises:
            as a call does; the first bad picture ends it. InvalidTypeError: ``images`` is one picture, not several.
        """
        encoded = isinstance(images, (str, bytes, bytearray, memoryview))
        if encoded or not isinstance(images, Iterable) or getattr(images, "ndim", 4) < 4:
            raise InvalidTypeError(f"batch takes several pictures, got one {type(images).__name__}; pass [picture]")
        images = list(images)
        boxes = [None] * len(images) if boxes is None else list(boxes)
        if len(boxes) != len(images):
            raise InvalidInputError(f"{len(images)} pictures but {len(boxes)} entries of boxes; give one a picture")
        results: list[PoseResult] = []
        for start in range(0, len(images), PICTURES_AT_ONCE):
            part = slice(start, start + PICTURES_AT_ONCE)
            results += self._estimate([read_picture(i, color=self._color) for i in images[part]], boxes[part])
        return results

    def close(self) -> None:
        """Free the models' memory; a closed estimator cannot be called."""
        self._closed = True
        self._runtime.close()
        if self._own_detector is not None:
            self._own_detector.close()

    def __enter__(self) -> PoseEstimator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _estimate(self, images: list[Array], boxes: list[Array | None]) -> list[PoseResult]:
        if self._closed:
            raise MobilePoseError("the estimator was closed; make a new one")
        found = [self._people(image, given) for image, given in zip(images, boxes)]
        poses = self._pipeline(images, [people for people, _ in found])
        return [
            self._result(image, people, scores, keypoints, keypoint_scores, merge=given is None)
            for image, given, (people, scores), (keypoints, keypoint_scores) in zip(images, boxes, found, poses)
        ]

    def _people(self, image: Array, given: Array | None) -> tuple[Array, Array]:
        """Boxes (N, 4) and their scores (N,), given, detected, or the whole picture."""
        height, width = image.shape[:2]
        if given is None and self._detector is not None:
            answer = self._detector(image)
            found, scores = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
        else:
            found, scores = [[0, 0, width, height]] if given is None else given, None
        found = checked_boxes(found, (width, height))
        return found, np.ones(len(found), np.float32) if scores is None else _checked_scores(scores, len(found))

    def _result(
        self, image: Array, boxes: Array, scores: Array, keypoints: Array, keypoint_scores: Array, *, merge: bool
    ) -> PoseResult:
        if merge and self._nms is not None and len(boxes) > 1:
            kept, scores = oks_nms(
                keypoints,
                keypoint_scores,
                scores,
                box_areas(boxes),
                method=self._nms,
                threshold=DUPLICATE_OKS,
                sigmas=self._pipeline.skeleton.sigmas,
            )
            boxes, keypoints, keypoint_scores = boxes[kept], keypoints[kept], keypoint_scores[kept]
        scores = person_scores(keypoint_scores, scores)
        if merge:
            order = np.argsort(-scores, kind="stable")
            boxes, scores, keypoints, keypoint_scores = (a[order] for a in (boxes, scores, keypoints, keypoint_scores))
        return PoseResult(
            keypoints=keypoints,
            keypoint_scores=keypoint_scores,
            boxes=boxes,
            scores=scores,
            image_size=(image.shape[1], image.shape[0]),
            skeleton=self._pipeline.skeleton,
        )


def _read_decoding(card: ModelCard) -> tuple[Skeleton, heatmaps.Method, float]:
    """A pose card's skeleton and its decoder's method and beta."""
    try:
        return SKELETONS[card.skeleton], card.decoder["method"], card.decoder["beta"]
    except KeyError as error:
        raise ModelFileError(f"the card of {card.name} lacks a known skeleton or a decoder setting: {error}") from error


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


def _thread_count(threads: int | str) -> int:
    """0 for ``"auto"``."""
    if threads == "auto":
        return 0
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InvalidInputError(f"threads must be 'auto' or a whole number of at least 1, got {threads!r}")
    return threads


def _one_of(name: str, value: object, accepted: tuple[object, ...]) -> None:
    if value not in accepted:
        raise InvalidInputError(f"{name} must be one of {', '.join(map(repr, accepted))}, got {value!r}")
