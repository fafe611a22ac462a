"""The one door: pictures in, :class:`PoseResult` out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import runtimes
from mobilepose_sdk.decoding import heatmaps
from mobilepose_sdk.decoding.nms import METHODS as NMS_METHODS
from mobilepose_sdk.decoding.nms import Method as NMSMethod
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.errors import InvalidInputError, InvalidTypeError, StateError
from mobilepose_sdk.following import estimates, without_duplicates
from mobilepose_sdk.frames import UNKNOWN_FPS
from mobilepose_sdk.models import DEFAULT_DETECTOR, DEFAULT_POSE_MODEL, find_model
from mobilepose_sdk.options import one_of
from mobilepose_sdk.pipelines.bottom_up import open_bottom_up
from mobilepose_sdk.pipelines.people import Pipeline
from mobilepose_sdk.pipelines.top_down import Detector, open_top_down
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.smoothing import DEFAULT_SMOOTHING, Smoothing
from mobilepose_sdk.sources import ColorOrder, PictureSource, read_picture
from mobilepose_sdk.streaming import PoseStream
from mobilepose_sdk.threads import MODES, Mode, Threads, thread_count
from mobilepose_sdk.throughput import GROUP, in_groups
from mobilepose_sdk.tracking import DEFAULT_TRACKING, Tracking
from mobilepose_sdk.video import VideoSource, open_source

Array = NDArray[Any]
PICTURES_AT_ONCE = 16


class PoseEstimator:
    """Finds people and their keypoints.

    Args:
        model: name of a packaged model (see :func:`mobilepose_sdk.list_models`), or a model folder.
        runtime: the library that runs the networks.
        precision: ``"int8"``, ``"fp16"``, …; the model card's first when None.
        detector: name of a packaged detector; a callable that takes a (H, W, 3) uint8 BGR picture and returns boxes
            (N, 4) xyxy, or boxes and scores (N,); or None, which takes every picture as one person. A bottom-up model
            finds everybody by itself: the default is not loaded, and any other is an error.
        decoder: ``"soft-argmax"`` or ``"quarter-offset"``; the card's when omitted. An error for a bottom-up model.
        blur: standard deviation, in heatmap pixels, of a Gaussian before decoding (SLBNet), 0 for none; the card's when
            omitted. An error for a bottom-up model.
        nms: how several detections of one person are merged: ``"hard"``, ``"soft"``, ``"parallel"`` or None. Boxes
            given by the caller are never merged.
        flip_test: run every crop, or picture, mirrored as well and average; slower, a little more accurate.
        scales: sizes at which a bottom-up model looks at the picture, in parts of its input, as ``(0.5, 1, 1.5)``;
            slower, more accurate where people are of many sizes. An error for a top-down model.
        threads: CPU threads, or ``"auto"``: what `mobilepose tune` found best here, or else what suits the processor.
        mode: ``"latency"`` has one picture done as soon as possible; ``"throughput"`` has :meth:`batch` work on several
            groups of pictures side by side, for folders of them.
        color: channel order of arrays that are passed in; files, bytes and PIL images say it themselves.
        device: OpenVINO's device name.

    Raises:
        ModelNotFoundError: no such model, or no files of it for the runtime or of the precision.
        ModelFileError: a model file is missing, altered or unreadable.
        InvalidInputError, InvalidTypeError: an option is not one of those accepted.
        MissingDependencyError: TFLite's interpreter, or SciPy for a bottom-up model, is not installed.

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
        blur: float | None = None,
        nms: NMSMethod | None = "hard",
        flip_test: bool = False,
        scales: Sequence[float] | None = None,
        threads: int | Literal["auto"] = "auto",
        mode: Mode = "latency",
        color: ColorOrder = "bgr",
        device: str = "CPU",
    ) -> None:
        wanted = Threads(thread_count(threads), mode)
        one_of("mode", mode, MODES)
        one_of("color", color, get_args(ColorOrder))
        one_of("nms", nms, (*NMS_METHODS, None))
        one_of("decoder", decoder, (*heatmaps.METHODS, None))
        if not isinstance(flip_test, (bool, np.bool_)):
            raise InvalidInputError(f"flip_test must be True or False, got {flip_test!r}")
        if not (detector is None or isinstance(detector, (str, Path)) or callable(detector)):
            raise InvalidTypeError(f"detector must be a name, a callable or None, got {type(detector).__name__}")
        self.card = find_model(model, "pose")
        self._color, self._nms, self._closed = color, nms, False
        load = partial(runtimes.load, self.card, runtime, precision, wanted, device)
        load_detector = partial(PersonDetector, runtime=runtime, threads=wanted, device=device)
        options: dict[str, Any] = {
            "detector": detector, "decoder": decoder, "nms": nms, "flip_test": flip_test, "scales": scales,
            "blur": blur,
        }  # fmt: skip
        self._pipeline: Pipeline = (
            open_bottom_up(self.card, load, **options)
            if self.card.approach == "bottom-up"
            else open_top_down(self.card, load, load_detector, **options)
        )
        self.workers = runtimes.workers(self.card, runtime, precision, wanted)

    def __call__(self, image: PictureSource, boxes: Array | None = None) -> PoseResult:
        """People in one picture.

        Args:
            image: path, encoded bytes, (H, W, 3) uint8 array or PIL image.
            boxes: (N, 4) xyxy in pixels: skips detection and gives one pose a box, in the same order. An error for a
                bottom-up model.

        Returns:
            the poses, highest score first where people were detected; none when nobody was found.

        Raises:
            SourceNotFoundError, SourceReadError: the file does not exist or is no readable picture.
            InvalidInputError, InvalidTypeError: the array or the boxes are not what is accepted.
            StateError: the estimator was closed.
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
        boxes = [None] * len(images) if boxes is None else list(islice(boxes, len(images) + 1))
        if len(boxes) != len(images):
            given = len(boxes) if len(boxes) < len(images) else "more"
            raise InvalidInputError(f"{len(images)} pictures but {given} entries of boxes; give one a picture")
        size = PICTURES_AT_ONCE if self.workers == 1 else GROUP
        return list(in_groups(self._read_and_estimate, zip(images, boxes), workers=self.workers, size=size))

    def stream(
        self,
        source: VideoSource,
        *,
        tracking: Tracking | None = DEFAULT_TRACKING,
        smoothing: Smoothing | None = DEFAULT_SMOOTHING,
        detect_every: int = 15,
        fps: float = UNKNOWN_FPS,
        timeout: float = 10.0,
    ) -> PoseStream:
        """People in every frame of a source, followed from one to the next: ``for result in estimator.stream(0)``.

        People come with ``track_ids``, the oldest track first. A file, a folder and an iterable lose no frame; of a
        camera or network stream the newest is taken and what came meanwhile is dropped and counted.

        Args:
            source: a camera's index, a video file, an RTSP or other address, a folder of frames, or any iterable of
                what a call takes.
            tracking: how people are followed; None estimates every frame on its own, without smoothing.
            smoothing: how keypoints are smoothed; None leaves them as they are.
            detect_every: frames from one detection to the next. In between, people are looked for where their
                keypoints were last, unless nobody is known or somebody was lost.
            fps: frames a second of a folder or an iterable, which do not say it themselves.
            timeout: seconds without a new frame after which a live source counts as lost.

        Returns:
            an iterator of results, with the frame, its time, the measured frame rate and latency and the number of
            dropped frames as attributes.

        Raises:
            SourceNotFoundError, SourceReadError: no such file or camera, or no video. While iterating also
                SourceLostError: a live source went away or stalled.
            InvalidInputError, InvalidTypeError: an option is out of range, or nothing that frames could come from.
        """
        estimate = estimates(
            lambda image, boxes: self._estimate([image], [boxes], exact=False)[0],
            self._pipeline.find_boxes,
            partial(without_duplicates, method=self._nms),
            tracking=tracking,
            smoothing=smoothing,
            detect_every=detect_every,
        )
        return PoseStream(open_source(source, color=self._color, fps=fps, timeout=timeout), estimate)

    def close(self) -> None:
        """Free the models' memory; a closed estimator cannot be called."""
        self._closed = True
        self._pipeline.close()

    def __enter__(self) -> PoseEstimator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            "an estimator cannot be copied or sent to another process: make one there, as examples/workers.py does"
        )

    def _read_and_estimate(self, pairs: list[tuple[PictureSource, Array | None]]) -> list[PoseResult]:
        pictures = [read_picture(image, color=self._color) for image, _ in pairs]
        return self._estimate(pictures, [boxes for _, boxes in pairs])

    def _estimate(self, images: list[Array], boxes: list[Array | None], *, exact: bool = True) -> list[PoseResult]:
        if self._closed:
            raise StateError("the estimator was closed; make a new one")
        return self._pipeline(images, boxes, exact=exact)
