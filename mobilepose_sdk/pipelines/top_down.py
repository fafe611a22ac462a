"""Top-down: crop every person, run the network on the crops, decode the heatmaps, go back to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.decoding.heatmaps import Method, decode
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.preprocessing import (
    apply_affine,
    as_channels,
    crop_matrices,
    crop_regions,
    invert_affine,
    warp_crops,
)
from mobilepose_sdk.runtimes import Runtime
from mobilepose_sdk.skeleton import Skeleton

Array = NDArray[Any]
CONFIDENT = 0.1
"""Keypoints at or below this do not count in a person's score (MobilePoseNet, Algorithm 1)."""


@dataclass(frozen=True)
class TopDown:
    """One network with its preparation and decoding.

    Attributes:
        card: the model.
        runtime: the loaded model; its first output is the heatmaps.
        skeleton: keypoint layout of the heatmaps.
        method: see :func:`mobilepose_sdk.decoding.heatmaps.decode`.
        beta: likewise.
        flip_test: also run every crop mirrored and average the heatmaps (SLBNet §4): twice the work.
    """

    card: ModelCard
    runtime: Runtime
    skeleton: Skeleton
    method: Method
    beta: float
    flip_test: bool = False

    def __call__(self, images: list[Array], boxes: list[Array]) -> list[tuple[Array, Array]]:
        """Poses of several pictures, with all their crops in one go.

        Args:
            images: (H, W, 3) uint8 BGR pictures.
            boxes: as many (N, 4) xyxy arrays.

        Returns:
            for each picture keypoints (N, K, 2) float32, pixels of that picture, and scores (N, K) float32.
        """
        size = self.card.input_size
        matrices = [crop_matrices(*crop_regions(b, size, self.card.padding), size) for b in boxes]
        counts = [len(b) for b in boxes]
        if sum(counts) == 0:
            k = len(self.skeleton)
            return [(np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)) for _ in images]
        crops = np.concatenate([warp_crops(image, m, size) for image, m in zip(images, matrices)])
        xy, scores = decode(self._heatmaps(as_channels(crops, self.card.color)), self.method, self.beta)
        keypoints = apply_affine(invert_affine(np.concatenate(matrices)), xy * self.card.stride)
        ends = np.cumsum(counts)[:-1]
        return list(zip(np.split(keypoints, ends), np.split(scores, ends)))

    def _heatmaps(self, crops: Array) -> Array:
        heatmaps: Array = self.runtime(crops)[0]
        if not self.flip_test:
            return heatmaps
        mirrored = self.runtime(self._mirrored(crops))[0]
        return np.asarray((heatmaps + mirrored[:, self.skeleton.flip_indices, :, ::-1]) * np.float32(0.5))

    def _mirrored(self, crops: Array) -> Array:
        """Crops mirrored so that their first and last *heatmap* columns, not their own, change places.

        Heatmap pixel h is input pixel stride·h: mirrored about the crop's middle, the two heatmaps that are averaged
        would lie stride - 1 input pixels apart.
        """
        last = crops.shape[2] - self.card.stride
        mirrored = np.zeros_like(crops, order="C")
        mirrored[:, :, : last + 1] = crops[:, :, last::-1]
        return mirrored


def person_scores(keypoint_scores: Array, box_scores: Array) -> NDArray[np.float32]:
    """(N,) box score times the mean score of the confident keypoints (MobilePoseNet eq. 6); 0 where none is."""
    confident = keypoint_scores > CONFIDENT
    total = np.where(confident, keypoint_scores, 0).sum(axis=1)
    return np.asarray(total / np.maximum(confident.sum(axis=1), 1) * box_scores, dtype=np.float32)
