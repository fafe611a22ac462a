"""What an estimator returns: the people of one picture, as arrays, and what they turn into."""

from __future__ import annotations

import importlib
import json
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.conversion import conversion
from mobilepose_sdk.drawing import DRAWN_SCORE, draw_poses
from mobilepose_sdk.errors import InvalidIndexError, InvalidInputError, InvalidTypeError, MissingDependencyError
from mobilepose_sdk.preprocessing import as_channels
from mobilepose_sdk.skeleton import COCO_17, Skeleton
from mobilepose_sdk.sources import ColorOrder, PictureSource, read_picture

Array = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class PoseResult:
    """N people, each with the K keypoints of ``skeleton``. No people is N = 0.

    Arrays are copied, converted to the dtypes below and made read-only. Coordinates are pixels of the source picture, a
    whole number being the centre of a pixel; they are never clipped to the picture and never zeroed: a keypoint's score
    says how far to trust it.

    Indexing keeps people and returns a :class:`PoseResult`: ``result[0]`` the first person (N = 1), ``result[:3]``,
    ``result[result.scores > 0.5]`` and ``result[[2, 0]]`` several. Iterating yields one person at a time.

    Attributes:
        keypoints: (N, K, 2) float32 xy, pixels.
        keypoint_scores: (N, K) float32.
        boxes: (N, 4) float32 xyxy, pixels.
        scores: (N,) float32, a person's score.
        image_size: (width, height) of the source picture, pixels.
        skeleton: keypoint names, limbs and sigmas.
        track_ids: (N,) int64, the same number for the same person from frame to frame; None without tracking.

    Raises:
        InvalidInputError: an array's shape or dtype does not fit the others, or the size is not two integers above 0.
    """

    keypoints: Float32
    keypoint_scores: Float32
    boxes: Float32
    scores: Float32
    image_size: tuple[int, int]
    skeleton: Skeleton
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.skeleton, Skeleton):
            raise InvalidTypeError(f"skeleton must be a Skeleton, got {type(self.skeleton).__qualname__}")
        object.__setattr__(self, "image_size", _checked_size(self.image_size))
        keypoints = _frozen("keypoints", self.keypoints, (None, len(self.skeleton), 2), np.float32)
        n, k = keypoints.shape[:2]
        object.__setattr__(self, "keypoints", keypoints)
        for name, shape in {"keypoint_scores": (n, k), "boxes": (n, 4), "scores": (n,)}.items():
            object.__setattr__(self, name, _frozen(name, getattr(self, name), shape, np.float32))
        if self.track_ids is not None:
            object.__setattr__(self, "track_ids", _frozen("track_ids", self.track_ids, (n,), np.int64))

    @classmethod
    def empty(cls, image_size: tuple[int, int], skeleton: Skeleton = COCO_17) -> PoseResult:
        """Nobody, in a picture of (width, height) pixels."""
        none = np.empty((0, len(skeleton), 2), dtype=np.float32)
        return cls(none, none[:, :, 0], np.empty((0, 4), np.float32), np.empty(0, np.float32), image_size, skeleton)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, is made like any result: its arrays are read-only."""
        return PoseResult, tuple(getattr(self, entry.name) for entry in fields(self))

    def __iter__(self) -> Iterator[PoseResult]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | np.integer[Any] | slice | list[int] | list[bool] | Array) -> PoseResult:
        people = _people(index, len(self))
        kept = {name: getattr(self, name)[people] for name in ("keypoints", "keypoint_scores", "boxes", "scores")}
        track_ids = None if self.track_ids is None else self.track_ids[people]
        return PoseResult(**kept, image_size=self.image_size, skeleton=self.skeleton, track_ids=track_ids)

    def __repr__(self) -> str:
        people = "1 person" if len(self) == 1 else f"{len(self)} people"
        scores = ", ".join(f"{score:.2f}" for score in self.scores[:5]) + (", …" if len(self) > 5 else "")
        tracks = "" if self.track_ids is None else ", tracked"
        width, height = self.image_size
        return f"PoseResult({people}, {self.skeleton.name}, {width}×{height}, scores [{scores}]{tracks})"

    def to_skeleton(self, skeleton: str | Skeleton) -> PoseResult:
        """The same people with another layout's keypoints, as ``"mpii-16"``, ``"crowdpose-14"`` or ``"lsp-14"``.

        A keypoint that this layout lacks is the middle of two others, with the lower score, or unknown: NaN with score
        0. Which is which is in :mod:`mobilepose_sdk.conversion`. Boxes and people's scores stay.

        Raises:
            InvalidInputError: no skeleton of that name.
            InvalidTypeError: neither a name nor a skeleton.
        """
        if not isinstance(skeleton, (str, Skeleton)):
            raise InvalidTypeError(f"a skeleton is a name or a Skeleton, got {type(skeleton).__name__}")
        to = conversion(self.skeleton, skeleton)
        keypoints, keypoint_scores = to(self.keypoints, self.keypoint_scores)
        return replace(self, keypoints=keypoints, keypoint_scores=keypoint_scores, skeleton=to.target)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON.

        Returns:
            ``image_size`` [width, height], ``skeleton`` (its name) and ``people``, each with ``box`` [x1, y1, x2, y2],
            ``score``, ``track_id`` (None without tracking) and ``keypoints``, each with ``name``, ``x``, ``y``,
            ``score``. Pixels are rounded to 0.01, scores to 0.0001; a number that is not finite becomes None.
        """
        people = [
            {
                "box": [_rounded(value, 2) for value in self.boxes[person]],
                "score": _rounded(self.scores[person], 4),
                "track_id": None if self.track_ids is None else int(self.track_ids[person]),
                "keypoints": [
                    {"name": name, "x": _rounded(x, 2), "y": _rounded(y, 2), "score": _rounded(score, 4)}
                    for name, (x, y), score in zip(
                        self.skeleton.names, self.keypoints[person], self.keypoint_scores[person], strict=True
                    )
                ],
            }
            for person in range(len(self))
        ]
        return {"image_size": list(self.image_size), "skeleton": self.skeleton.name, "people": people}

    def to_json(self, indent: int | None = None) -> str:
        """:meth:`to_dict` as JSON text, on one line unless ``indent`` spaces are asked for."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_coco(self, image_id: int | str, category_id: int | str = 1) -> list[dict[str, Any]]:
        """One dictionary a person, as COCO's results format for keypoints wants them.

        Returns:
            ``image_id``, ``category_id``, ``keypoints`` [x, y, score] · K in one flat list, ``score``, and ``bbox``
            [x, y, width, height]. Pixels are rounded to 0.001, scores to 0.000001. A keypoint or box that is not
            finite becomes zeros, COCO's word for missing.
        """
        points = np.concatenate([self.keypoints, self.keypoint_scores[:, :, None]], axis=2).astype(np.float64)
        points[~np.isfinite(points).all(axis=2)] = 0
        boxes = np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], axis=1).astype(np.float64)
        boxes[~np.isfinite(boxes).all(axis=1)] = 0
        points[..., :2] = points[..., :2].round(3)
        points[..., 2] = points[..., 2].round(6)
        return [
            {
                "image_id": _plain(image_id),
                "category_id": _plain(category_id),
                "keypoints": points[person].ravel().tolist(),
                "score": _rounded(self.scores[person], 6) or 0.0,
                "bbox": boxes[person].round(3).tolist(),
            }
            for person in range(len(self))
        ]

    def to_supervision(self) -> Any:
        """A ``supervision.KeyPoints`` for that library's annotators.

        Scores of keypoints and people go where the installed version keeps them; ``class_id`` is 0, and track ids are
        ``data["tracker_id"]``. A keypoint that is not finite becomes (0, 0), supervision's word for missing.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        key_points = _optional("supervision", "to_supervision").KeyPoints
        if len(self) == 0:
            return key_points.empty()
        accepted = {field.name for field in fields(key_points)}
        # Renamed in supervision 0.29.
        scores = "keypoint_confidence" if "keypoint_confidence" in accepted else "confidence"
        xy = np.where(np.isfinite(self.keypoints).all(axis=2, keepdims=True), self.keypoints, np.float32(0))
        values: dict[str, Any] = {"xy": xy, scores: self.keypoint_scores.copy()}
        values["class_id"] = np.zeros(len(self), dtype=np.int64)
        if "detection_confidence" in accepted:
            values["detection_confidence"] = self.scores.copy()
        if self.track_ids is not None:
            values["data"] = {"tracker_id": self.track_ids.copy()}
        return key_points(**values)

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with one row a person and keypoint.

        Columns: ``person`` (0 … N-1), ``track_id`` (missing without tracking), ``keypoint`` (name), ``x``, ``y``,
        ``score``, and the person's own ``person_score``, ``x1``, ``y1``, ``x2``, ``y2``, repeated in each of its rows.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        pandas = _optional("pandas", "to_dataframe")
        n, k = self.keypoint_scores.shape
        tracks = [pandas.NA] * (n * k) if self.track_ids is None else np.repeat(self.track_ids, k)
        columns = {
            "person": np.repeat(np.arange(n), k),
            "track_id": pandas.array(tracks, dtype="Int64"),
            "keypoint": list(self.skeleton.names) * n,
            "x": self.keypoints[:, :, 0].ravel(),
            "y": self.keypoints[:, :, 1].ravel(),
            "score": self.keypoint_scores.ravel(),
            "person_score": np.repeat(self.scores, k),
        }
        for name, edge in zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True):
            columns[name] = np.repeat(edge, k)
        return pandas.DataFrame(columns)

    def plot(
        self, image: PictureSource, *, min_score: float = DRAWN_SCORE, color: ColorOrder = "bgr"
    ) -> NDArray[np.uint8]:
        """Draw the people onto a copy of their picture; see :func:`mobilepose_sdk.drawing.draw_poses`.

        Args:
            image: the picture the result came from, in any form the estimator takes.
            min_score: keypoints below it, and limbs that end in one, are left out.
            color: channel order of ``image``, if it is an array, and of what is returned.

        Returns:
            (H, W, 3) uint8.

        Raises:
            InvalidInputError: the picture is not of the size the result is for, or ``min_score`` is no number.
        """
        return as_channels(draw_poses(read_picture(image, color=color), self, min_score=min_score), color)


def _plain(value: Any) -> Any:
    """What JSON can hold of an id."""
    return value.item() if isinstance(value, np.generic) else value


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        width, height = map(operator.index, size)
    except (TypeError, ValueError):
        raise InvalidInputError(f"image_size must be (width, height) in whole pixels, got {size!r}") from None
    if width < 1 or height < 1:
        raise InvalidInputError(f"image_size must be at least 1×1, got {width}×{height}")
    return width, height


def _frozen(name: str, values: Any, shape: tuple[int | None, ...], dtype: type[np.generic]) -> Array:
    """A read-only copy of ``values`` as ``dtype``; None in ``shape`` stands for any length."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(f"{name} must be an array {_written(shape)}: {error}") from None
    if array.ndim != len(shape) or any(side not in (None, got) for side, got in zip(shape, array.shape, strict=True)):
        raise InvalidInputError(f"{name} must be {_written(shape)}, got {array.shape}")
    if array.dtype == dtype:
        array = np.array(array)
        array.flags.writeable = False
        return array
    # An empty list is a float array to NumPy; nothing is lost by taking it for integers.
    kinds = "iuf" if np.issubdtype(dtype, np.floating) or array.size == 0 else "iu"
    if array.dtype.kind not in kinds:
        raise InvalidInputError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    array.flags.writeable = False
    return array


def _written(shape: tuple[int | None, ...]) -> str:
    return str(tuple("N" if side is None else side for side in shape)).replace("'", "")


def _people(index: Any, n: int) -> Any:
    """``index`` as something that selects along the first axis and keeps it."""
    if isinstance(index, slice):
        return index
    try:
        selected = np.asarray(index if isinstance(index, (int, np.integer, list, np.ndarray)) else None)
    except ValueError:  # A ragged list.
        selected = np.array(None)
    if selected.shape == (0,):
        selected = selected.astype(np.intp)
    if selected.ndim > 1 or selected.dtype.kind not in ("iu" if selected.ndim == 0 else "iub"):
        raise InvalidTypeError(f"people are chosen by an integer, a slice, a mask or a list of integers, got {index!r}")
    if selected.dtype.kind == "b" and len(selected) != n:
        raise InvalidIndexError(f"the mask is for {len(selected)} people, the result has {n}")
    selected = np.atleast_1d(selected)
    if selected.dtype.kind != "b" and ((selected < -n) | (selected >= n)).any():
        raise InvalidIndexError(f"no person {index!r}: the result has {n}, counted from 0")
    return selected


def _rounded(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _optional(library: str, method: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise MissingDependencyError(f"{method}() needs {library}: pip install {library} ({error})") from error
