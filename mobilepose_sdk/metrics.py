"""The figures quoted everywhere: OKS AP and AR (pycocotools), PCK and PCKh."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError
from mobilepose_sdk.skeleton import COCO_17, MPII_16, Skeleton

Array = NDArray[Any]
SIDES = ("left", "right")
BODY = tuple(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in SIDES)
"""The keypoints that PCK counts: every skeleton has them."""
PCKH_LEFT_OUT = ("pelvis", "thorax")
"""MPII's own evaluation leaves them out of the mean."""
HEAD_SHARE = 0.6
"""MPII's head segment is this share of the head box's diagonal (``SC_BIAS`` in its evaluation code)."""
COCO_STATS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


def torso_length(keypoints: Array, labelled: Array, skeleton: Skeleton = COCO_17) -> NDArray[np.float64]:
    """(N,) the longer shoulder-to-opposite-hip diagonal of people (N, K, 2); NaN where neither is labelled (N, K)."""
    keypoints, labelled = np.asarray(keypoints, dtype=np.float64), np.asarray(labelled).astype(bool)
    diagonals = []
    for side, other in (SIDES, SIDES[::-1]):
        shoulder, hip = skeleton.names.index(f"{side}_shoulder"), skeleton.names.index(f"{other}_hip")
        length = np.linalg.norm(keypoints[:, shoulder] - keypoints[:, hip], axis=1)
        diagonals.append(np.where(labelled[:, shoulder] & labelled[:, hip], length, np.nan))
    with np.errstate(all="ignore"):
        return np.asarray(np.fmax(diagonals[0], diagonals[1]))


@dataclass(frozen=True)
class PCK:
    """Percentage of correct keypoints.

    Attributes:
        value: share over all labelled keypoints that count, 0 to 1; NaN where nothing is labelled.
        per_keypoint: the same for each of ``names``.
        count: labelled keypoints that were counted in ``value``.
        names: of the keypoints in ``per_keypoint``.
    """

    value: float
    per_keypoint: NDArray[np.float64]
    count: int
    names: tuple[str, ...] = BODY

    def of(self, name: str) -> float:
        """One keypoint's share; NaN where it is not labelled or not among ``names``."""
        return float(self.per_keypoint[self.names.index(name)]) if name in self.names else float("nan")


def pck(
    predicted: Array, truth: Array, labelled: Array, threshold: float = 0.2, *, skeleton: Skeleton = COCO_17
) -> PCK:
    """PCK@threshold of the 12 body keypoints, relative to the torso.

    Args:
        predicted: (N, K, 2) pixels; what is not finite is wrong.
        truth: (N, K, 2) pixels.
        labelled: (N, K) bool, or COCO's visibility.
        threshold: largest error of a correct keypoint, as a share of the torso's length.
        skeleton: the K keypoints.

    People without a measurable torso are left out.

    Raises:
        InvalidInputError: the arrays' shapes do not match, or not the skeleton's.
    """
    truth, labelled = _checked(predicted, truth, labelled, skeleton)
    torso, body = torso_length(truth, labelled, skeleton), [skeleton.names.index(name) for name in BODY]
    counted = labelled[:, body] & (torso > 0)[:, None]
    error = _distance(predicted, truth)[:, body]
    return _share(error, threshold * torso, counted, BODY, BODY)


def head_segment(head_boxes: Array) -> NDArray[np.float64]:
    """(N,) head segment lengths of head boxes (N, 4) xyxy: 0.6 of the diagonal, as in MPII's evaluation."""
    boxes = np.asarray(head_boxes, dtype=np.float64).reshape(-1, 4)
    return np.asarray(HEAD_SHARE * np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1))


def pckh(
    predicted: Array,
    truth: Array,
    labelled: Array,
    head_boxes: Array,
    threshold: float = 0.5,
    *,
    skeleton: Skeleton = MPII_16,
) -> PCK:
    """PCKh@threshold (Andriluka et al., CVPR 2014): PCK relative to the head segment, as MPII is measured.

    Args:
        predicted: (N, K, 2) pixels; what is not finite is wrong.
        truth: (N, K, 2) pixels.
        labelled: (N, K) bool, or COCO's visibility.
        head_boxes: (N, 4) xyxy, pixels; see :func:`head_segment`. People whose box has no size, or is not finite, are
            left out.
        threshold: largest error of a correct keypoint, as a share of the head segment.
        skeleton: the K keypoints.

    Returns:
        every keypoint of the skeleton by itself, and the value over all but pelvis and thorax, which MPII's own
        evaluation leaves out as well.

    Raises:
        InvalidInputError: the arrays' shapes do not match, or not the skeleton's.
    """
    truth, labelled = _checked(predicted, truth, labelled, skeleton)
    segment = head_segment(head_boxes)
    if len(segment) != len(truth):
        raise InvalidInputError(f"head_boxes must be one a person, got {len(segment)} for {len(truth)} people")
    counted = labelled & np.asarray(segment > 0)[:, None]
    mean = tuple(name for name in skeleton.names if name not in PCKH_LEFT_OUT)
    return _share(_distance(predicted, truth), threshold * segment, counted, skeleton.names, mean)


def keypoint_similarity(
    predicted: Array, truth: Array, areas: Array, skeleton: Skeleton = COCO_17
) -> NDArray[np.float64]:
    """(N, K) each keypoint's part of the OKS with its true place: exp(-d² / (2·area·(2σ)²)), 0 where not finite.

    Args:
        predicted: (N, K, 2) pixels.
        truth: (N, K, 2) pixels.
        areas: (N,) the people's areas, square pixels.
        skeleton: the K keypoints.
    """
    spread = 2 * (np.asarray(areas, np.float64)[:, None] + np.spacing(1)) * (2 * np.array(skeleton.sigmas)) ** 2
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.exp(-(_distance(predicted, truth) ** 2) / spread))


def _checked(
    predicted: Array, truth: Array, labelled: Array, skeleton: Skeleton
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """``truth`` (N, K, 2) and ``labelled`` (N, K): COCO's visibility, 0 to 2, says it as well."""
    shape = (len(truth), len(skeleton), 2)
    for name, array, wanted in (
        ("predicted", predicted, shape),
        ("truth", truth, shape),
        ("labelled", labelled, shape[:2]),
    ):
        if np.shape(array) != wanted:
            raise InvalidInputError(f"{name} must be {wanted} for {skeleton.name}, got shape {np.shape(array)}")
    return np.asarray(truth, np.float64), np.asarray(labelled).astype(bool)


def _distance(predicted: Array, truth: Array) -> NDArray[np.float64]:
    """(N, K) pixels; infinite where a prediction is not finite."""
    predicted = np.asarray(predicted, dtype=np.float64)
    finite = np.asarray(np.isfinite(predicted).all(axis=2))
    return np.where(finite, np.linalg.norm(np.where(finite[:, :, None], predicted, 0) - truth, axis=2), np.inf)


def _share(error: Array, largest: Array, counted: Array, names: tuple[str, ...], mean_of: tuple[str, ...]) -> PCK:
    """PCK of errors (N, K) up to ``largest`` (N,), over the ``counted`` (N, K)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correct = (error <= largest[:, None]) & counted
        per_keypoint = correct.sum(axis=0) / counted.sum(axis=0)
        chosen = [names.index(name) for name in mean_of]
        value = float(np.float64(correct[:, chosen].sum()) / counted[:, chosen].sum())
    return PCK(value, per_keypoint, int(counted[:, chosen].sum()), names)


def import_pycocotools() -> tuple[Any, Any]:
    """Its ``COCO`` and ``COCOeval``.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError("AP needs pycocotools: pip install 'mobilepose-sdk[eval]'") from error
    return COCO, COCOeval


def check_pictures(annotations: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Refuse COCO results for pictures that are not in the annotations.

    Raises:
        InvalidInputError: a result names a picture that the annotations do not have.
    """
    known = {image["id"] for image in annotations["images"]}
    unknown = [result["image_id"] for result in results if result["image_id"] not in known]
    if unknown:
        raise InvalidInputError(f"results name pictures the annotations do not have, image_id {unknown[:5]}")


def coco_average_precision(
    annotations: dict[str, Any],
    results: list[dict[str, Any]],
    image_ids: list[int] | None = None,
    *,
    sigmas: Sequence[float] = COCO_17.sigmas,
) -> dict[str, float]:
    """OKS AP and AR as pycocotools summarises them.

    Args:
        annotations: a parsed COCO keypoint file.
        results: COCO results (``image_id``, ``category_id``, ``keypoints``, ``score``).
        image_ids: the pictures to count; all of the file's when omitted.
        sigmas: of the file's keypoints.

    Returns:
        the ten figures of :data:`COCO_STATS`, 0 to 1; -1 where undefined, as in pycocotools.

    Raises:
        MissingDependencyError: pycocotools is not installed.
        InvalidInputError: a result names a picture that the annotations do not have.
    """
    COCO, COCOeval = import_pycocotools()
    check_pictures(annotations, results)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        # Copies: pycocotools writes into what it is given. Numbered anew: number 0 is nobody to it.
        people = [{**person, "id": number} for number, person in enumerate(annotations["annotations"], 1)]
        truth.dataset = {"info": {}, **annotations, "annotations": people}
        truth.createIndex()
        found = truth.loadRes([dict(result) for result in results]) if results else COCO()  # loadRes fails on none
        evaluation = COCOeval(truth, found, iouType="keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_STATS, map(float, evaluation.stats)))
