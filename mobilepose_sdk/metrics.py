"""The two figures quoted everywhere: OKS AP (pycocotools) and PCK."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError

Array = NDArray[Any]
PCK_KEYPOINTS = slice(5, 17)
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
COCO_STATS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


def torso_length(keypoints: Array, labelled: Array) -> NDArray[np.float64]:
    """(N,) the longer shoulder-to-opposite-hip diagonal of COCO-17 people; NaN where neither is labelled."""
    keypoints = np.asarray(keypoints, dtype=np.float64)
    diagonals = []
    for shoulder, hip in ((LEFT_SHOULDER, RIGHT_HIP), (RIGHT_SHOULDER, LEFT_HIP)):
        length = np.linalg.norm(keypoints[:, shoulder] - keypoints[:, hip], axis=1)
        diagonals.append(np.where(labelled[:, shoulder] & labelled[:, hip], length, np.nan))
    with np.errstate(all="ignore"):
        return np.asarray(np.fmax(diagonals[0], diagonals[1]))


@dataclass(frozen=True)
class PCK:
    """Percentage of correct keypoints.

    Attributes:
        value: share over all labelled keypoints, 0 to 1; NaN where nothing is labelled.
        per_keypoint: (12,) the same for each of COCO-17's keypoints 5 to 16 (shoulders to ankles).
        count: labelled keypoints that were counted.
    """

    value: float
    per_keypoint: NDArray[np.float64]
    count: int


def pck(predicted: Array, truth: Array, labelled: Array, threshold: float = 0.2) -> PCK:
    """PCK@threshold of the 12 body keypoints, relative to the torso.

    Args:
        predicted: (N, 17, 2) pixels.
        truth: (N, 17, 2) pixels.
        labelled: (N, 17) bool.
        threshold: largest error of a correct keypoint, as a share of the torso's length.

    People without a measurable torso are left out.
    """
    torso = torso_length(truth, labelled)
    counted = labelled[:, PCK_KEYPOINTS] & (torso > 0)[:, None]
    error = np.linalg.norm(np.asarray(predicted, np.float64) - truth, axis=2)[:, PCK_KEYPOINTS]
    with np.errstate(invalid="ignore"):
        correct = (error <= threshold * torso[:, None]) & counted
    with np.errstate(invalid="ignore", divide="ignore"):
        per_keypoint = correct.sum(axis=0) / counted.sum(axis=0)
        value = float(np.float64(correct.sum()) / counted.sum())
    return PCK(value, per_keypoint, int(counted.sum()))


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


def coco_average_precision(
    annotations: dict[str, Any], results: list[dict[str, Any]], image_ids: list[int] | None = None
) -> dict[str, float]:
    """OKS AP and AR as pycocotools summarises them.

    Args:
        annotations: a parsed COCO keypoint file.
        results: COCO results (``image_id``, ``category_id``, ``keypoints``, ``score``).
        image_ids: the pictures to count; all of the file's when omitted.

    Returns:
        the ten figures of :data:`COCO_STATS`, 0 to 1; -1 where undefined, as in pycocotools.

    Raises:
        MissingDependencyError: pycocotools is not installed.
        InvalidInputError: a result names a picture that the annotations do not have.
    """
    COCO, COCOeval = import_pycocotools()
    known = {image["id"] for image in annotations["images"]}
    unknown = sorted({result["image_id"] for result in results} - known)
    if unknown:
        raise InvalidInputError(f"results name pictures the annotations do not have, image_id {unknown[:5]}")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        # Copies: pycocotools writes into what it is given.
        truth.dataset = {"info": {}, **annotations, "annotations": [dict(a) for a in annotations["annotations"]]}
        truth.createIndex()
        found = truth.loadRes([dict(result) for result in results]) if results else COCO()  # loadRes fails on none
        evaluation = COCOeval(truth, found, iouType="keypoints")
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_STATS, map(float, evaluation.stats)))
