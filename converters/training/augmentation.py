"""Random changes to one person's crop: geometry on the affine map, colour on the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
HEAD = slice(0, 5)
HEAD_AND_SHOULDERS = slice(0, 7)
UPPER_BODY = slice(0, 11)
LOWER_BODY = slice(11, 17)
HIPS, KNEES = slice(11, 13), slice(13, 15)
PARTS = ((HEAD, 0.2), (HEAD_AND_SHOULDERS, 0.3), (UPPER_BODY, 0.3), (LOWER_BODY, 0.2))
"""What is shown of a body when not all of it is, and how often: the papers' two halves, and portraits, which a network
that knows whole bodies alone gets wrong: it expects small faces."""
SMALLEST_PART = 16
"""Pixels of the picture between the keypoints of a part that is worth a crop of its own; a smaller head is a smear."""

CUT_SIDES = (0.15, 0.1, 0.15, 0.6)
"""How often a picture ends left of, above, right of and below the middle of somebody."""


@dataclass(frozen=True)
class Augmentation:
    """How far a crop may be moved from the annotated box (LPN §4.1, MobilePoseNet §4.2 for the half body).

    Attributes:
        rotation: largest angle, degrees; applied to ``rotation_share`` of the crops.
        turn_share: crops turned by any angle besides: people lie, climb and stand on their hands, and are photographed
            doing so less often than standing.
        scale: the region grows or shrinks by up to this share.
        aspect: a picture is stretched by up to this factor either way (some training pictures were squeezed).
        shift: largest move of the centre, as a share of the region.
        half_body_share: crops that show one of :data:`PARTS`.
        cut_share: crops whose picture ends inside the person.
        other_person_share: crops in which a person from another picture stands beside or before this one.
        colour: strength of brightness, contrast and saturation changes.
        tint_share: crops under coloured or little light besides, as bars, stages and evenings have.
        blur_share: crops that are blurred or taken down in resolution, as small people in large pictures are.
    """

    rotation: float = 40.0
    rotation_share: float = 0.6
    turn_share: float = 0.0
    scale: float = 0.30
    aspect: float = 1.4
    shift: float = 0.06
    half_body_share: float = 0.25
    cut_share: float = 0.3
    other_person_share: float = 0.2
    colour: float = 0.3
    tint_share: float = 0.12
    blur_share: float = 0.15


def half_body_box(keypoints: Array, labelled: Array, rng: np.random.Generator) -> Array | None:
    """Box (4,) around one of :data:`PARTS`, or None where too few of its keypoints are labelled, or it is too small."""
    part = PARTS[rng.choice(len(PARTS), p=[share for _, share in PARTS])][0]
    points = keypoints[part][labelled[part]]
    if len(points) < 4:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    if extent < SMALLEST_PART:
        return None
    margin = 0.15 * extent
    return np.concatenate([low - margin, high + margin])


def picture_end(box: Array, keypoints: Array, labelled: Array, rng: np.random.Generator) -> Array | None:
    """Edges (4,) xyxy of a picture that ends inside the person, mostly below the waist, as close photographs do.

    Half-body crops show what is beyond the half; users' pictures of somebody close do not, they are over there. None
    where fewer than three labelled keypoints would be left.
    """
    width, height = box[2:] - box[:2]
    edges = np.array([-np.inf, -np.inf, np.inf, np.inf])
    for _ in range(1 + (rng.random() < 0.3)):
        side = rng.choice(4, p=CUT_SIDES)
        kept = rng.uniform(0.2, 0.85) * (width, height)[side % 2]
        edges[side] = box[side - 2] + (kept if side >= 2 else -kept)
    inside = (keypoints >= edges[:2]).all(axis=1) & (keypoints <= edges[2:]).all(axis=1)
    return edges if (inside & labelled).sum() >= 3 else None


def turned(box: Array, angle: float) -> Array:
    """Box (4,) xyxy that holds ``box`` turned about its middle by ``angle``, radians."""
    middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    half = size @ np.array([[cos, sin], [sin, cos]]) / 2
    return np.concatenate([middle - half, middle + half])


def jitter_region(
    centre: Array, size: Array, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Array, Array, float]:
    """A moved, scaled, stretched and rotated region: centre (2,), size (2,), angle in radians."""
    scale = 1 + np.clip(rng.normal() * 0.5, -1, 1) * augmentation.scale
    stretch = augmentation.aspect ** rng.uniform(-0.5, 0.5)
    angle = 0.0
    if rng.random() < augmentation.rotation_share:
        angle = float(np.deg2rad(np.clip(rng.normal() * 0.5, -1, 1) * augmentation.rotation))
    centre = centre + size * rng.uniform(-augmentation.shift, augmentation.shift, 2)
    return centre, size * scale * np.array([stretch, 1 / stretch]), angle


def beside(centre: Array, size: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A region near ``centre`` (2,), ``size`` (2,): what was in the middle is to the left or right, in another size."""
    away = rng.choice((-1, 1)) * rng.uniform(0.2, 0.6)
    size = size * rng.uniform(0.75, 1.5)
    return centre + size * np.array([away, rng.uniform(-0.2, 0.2)]), size


def change_colour(crop: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation and channel gains, in one affine colour map; sometimes a blur."""
    strength = augmentation.colour
    if strength and rng.random() < 0.8:
        saturation = 1 + rng.uniform(-strength, strength)
        if rng.random() < 0.08:
            saturation = 0.0
        grey = np.full((3, 3), 1 / 3)
        gains = np.diag(1 + rng.uniform(-strength, strength, 3) * 0.3)
        contrast = 1 + rng.uniform(-strength, strength)
        matrix = contrast * gains @ (saturation * np.eye(3) + (1 - saturation) * grey)
        shift = np.full(3, 128 * (1 - contrast) + rng.uniform(-strength, strength) * 80)
        if rng.random() < augmentation.tint_share:
            light = rng.uniform(0.3, 1.1, 3)
            matrix, shift = light[:, None] * matrix, shift * light
        crop = np.asarray(cv2.transform(crop, np.column_stack([matrix, shift])), np.uint8)
    if rng.random() < augmentation.blur_share:
        height, width = crop.shape[:2]
        factor = rng.uniform(0.25, 0.7)
        small = cv2.resize(
            crop, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA
        )
        crop = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return crop
