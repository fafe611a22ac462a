"""Label cleaning: a trained network looks at everybody twice, and labels are weighed against what it sees.

LSP-extended has many left/right flips and gross errors. A network that has seen every label only a few times has not
learnt them by heart, so where two looks at a person agree with each other and not with the label, the label is the
likelier error. And where there is no label, or none that is left, two looks that agree are a better one than none: what
nobody labelled is hidden, small or in a crowd, and a network must find it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converters.training.people import Person
from converters.training.pictures import PicturePack
from converters.training.validation import Network
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.preprocessing import apply_affine, crop_matrices, crop_regions, invert_affine, warp_crops
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
LOOKS = ((1.0, 0.0), (1.15, 0.15))
"""Scale and rotation (radians) of the two crops of each person; the second is mirrored as well."""
AT_ONCE = 32
"""Crops."""


@dataclass(frozen=True)
class Doubt:
    """When a label is contradicted.

    Attributes:
        confidence: least heatmap value of both looks.
        agreement: both looks lie this near to each other, as a share of the person's size (√ of the box's area).
        distance: and the label at least this far from their mean.
        trust: what remains of a contradicted label's weight.
    """

    confidence: float = 0.25
    agreement: float = 0.1
    distance: float = 0.2
    trust: float = 0.0


@dataclass(frozen=True)
class Guess:
    """When a keypoint without a label, or with one that was contradicted, is taken from the network.

    Attributes:
        confidence: least heatmap value of both looks.
        agreement: both looks lie this near to each other, as a share of the person's size (√ of the box's area).
        smallest: of the people it is done for, size in pixels.
        trust: weight of the new label.
    """

    confidence: float = 0.15
    agreement: float = 0.08
    smallest: float = 40.0
    trust: float = 0.5


def cleaned_weights(
    labels: Array, weights: Array, looks: Array, confidence: Array, sizes: Array, doubt: Doubt = Doubt()
) -> NDArray[np.float32]:
    """Weights (N, K) with those of contradicted labels taken down.

    Args:
        labels: (N, K, 2) annotated keypoints, pixels.
        weights: (N, K) their trust so far.
        looks: (2, N, K, 2) what the network saw, pixels.
        confidence: (2, N, K) heatmap values.
        sizes: (N,) √ of the box's area, pixels.
        doubt: the rule.
    """
    scale = sizes[:, None]
    apart = np.linalg.norm(looks[0] - looks[1], axis=2) / scale
    off = np.linalg.norm(looks.mean(axis=0) - labels, axis=2) / scale
    sure = (confidence >= doubt.confidence).all(axis=0) & (apart <= doubt.agreement)
    contradicted = sure & (off >= doubt.distance) & (weights > 0)
    return np.where(contradicted, weights * doubt.trust, weights).astype(np.float32)


def filled_labels(
    labels: Array, weights: Array, looks: Array, confidence: Array, sizes: Array, guess: Guess = Guess()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Labels (N, K, 2) and weights (N, K) with what is not labelled taken from the network where it is sure enough.

    Args:
        as :func:`cleaned_weights` takes them, and the rule.
    """
    scale = sizes[:, None]
    apart = np.linalg.norm(looks[0] - looks[1], axis=2) / scale
    sure = (confidence >= guess.confidence).all(axis=0) & (apart <= guess.agreement) & (scale >= guess.smallest)
    new = sure & (weights == 0)
    filled = np.where(new[..., None], looks.mean(axis=0), labels).astype(np.float32)
    return filled, np.where(new, guess.trust, weights).astype(np.float32)


def look_twice(
    network: Network,
    people: list[Person],
    pack: PicturePack,
    input_size: tuple[int, int],
    stride: int,
) -> tuple[Array, Array]:
    """Keypoints (2, N, K, 2), picture pixels, and confidences (2, N, K) from two different crops of each person.

    Args:
        network: whose opinion it is.
        people: whom to look at.
        pack: their pictures.
        input_size: (width, height) of the crops.
        stride: of the heatmaps.
    """
    seen = [_look(network, people, pack, input_size, stride, *look) for look in LOOKS]
    return np.stack([points for points, _ in seen]), np.stack([scores for _, scores in seen])


def _look(
    network: Network,
    people: list[Person],
    pack: PicturePack,
    input_size: tuple[int, int],
    stride: int,
    scale: float,
    angle: float,
) -> tuple[Array, Array]:
    centres, sizes = crop_regions(np.stack([person.box for person in people]), input_size)
    matrices = crop_matrices(centres, sizes * scale, input_size, np.full(len(people), angle))
    mirrored = angle != 0
    if mirrored:
        matrices[:, 0] *= -1
        matrices[:, 0, 2] += input_size[0] - 1
    points, scores = [], []
    for start in range(0, len(people), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        crops = [warp_crops(pack[p.image_id], m[None], input_size) for p, m in zip(people[part], matrices[part])]
        heatmaps = network(torch.from_numpy(np.concatenate(crops).transpose(0, 3, 1, 2)))
        xy, confidence = decode(heatmaps.numpy())
        points.append(apply_affine(invert_affine(matrices[part]), xy * stride))
        scores.append(confidence)
    order = COCO_17.flip_indices if mirrored else slice(None)
    return np.concatenate(points)[:, order], np.concatenate(scores)[:, order]
