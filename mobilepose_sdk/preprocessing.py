"""From a person's box to the picture a network reads, and back.

One pixel convention holds everywhere in the SDK: an integer coordinate is the *centre* of a pixel, as in OpenCV and in
COCO's keypoints. A crop of ``width`` × ``height`` pixels places the centre of the box at ``(width / 2, height / 2)``,
and heatmap pixel ``h`` stands for input pixel ``stride * h`` (SimpleBaseline's convention, which LPN's official weights
were trained with).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.opencv import cv2

Array = NDArray[Any]

LONGEST_SIDE = 32766
"""OpenCV 4's warpAffine reads no picture with a longer side."""
PADDING = 1.25
"""How much a person's box is grown before it is cropped (LPN §4.1, as SimpleBaseline), unless a card says otherwise."""
SAMPLED = 0.75
"""From this scale on a whole picture is sampled and not averaged: no pixel is left out, the detector finds the same
people, and it is several times as quick."""


def crop_regions(
    boxes: Array, input_size: tuple[int, int], padding: float = PADDING
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grow person boxes to a network's aspect ratio and pad them.

    Args:
        boxes: (N, 4) xyxy, pixels.
        input_size: (width, height) of the network's input.
        padding: factor applied after the aspect ratio is matched.

    Returns:
        centres (N, 2) and sizes (N, 2), float32, pixels of the source picture. Regions may reach outside the picture.
    """
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    aspect = input_size[0] / input_size[1]
    centres = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    extent = boxes[:, 2:] - boxes[:, :2]
    width = np.maximum(extent[:, 0], extent[:, 1] * aspect) * padding
    return centres, width[:, None] * np.array([1, 1 / aspect], dtype=np.float32)


def crop_matrices(
    centres: Array, sizes: Array, input_size: tuple[int, int], rotations: Array | None = None
) -> NDArray[np.float32]:
    """Affine maps from source pixels to network-input pixels.

    Args:
        centres: (N, 2) xy.
        sizes: (N, 2) width and height of the cropped region, both > 0.
        input_size: (width, height) of the network's input.
        rotations: (N,) radians, the region's own rotation; none when omitted.

    Returns:
        (N, 2, 3) float32: ``input_xy = M[:, :, :2] @ source_xy + M[:, :, 2]``.
    """
    centres = np.asarray(centres, dtype=np.float64).reshape(-1, 2)
    out = np.asarray(input_size, dtype=np.float64)
    scale = out / np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if rotations is None:
        matrices = np.zeros((len(centres), 2, 3), dtype=np.float32)
        matrices[:, 0, 0], matrices[:, 1, 1] = scale.T
        matrices[:, :, 2] = out * 0.5 - scale * centres
        return matrices
    angle = np.asarray(rotations, dtype=np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1) * scale[:, :, None]
    offset = out * 0.5 - np.einsum("nij,nj->ni", linear, centres)
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)


def invert_affine(matrices: Array) -> NDArray[np.float32]:
    """Inverse of (N, 2, 3) affine maps, float32."""
    inverses = [cv2.invertAffineTransform(matrix) for matrix in np.asarray(matrices, dtype=np.float64)]
    return np.array(inverses, dtype=np.float32).reshape(-1, 2, 3)


def apply_affine(matrices: Array, points: Array) -> NDArray[np.float32]:
    """Map points (N, K, 2) through their affine maps (N, 2, 3): (N, K, 2) float32."""
    matrices = np.asarray(matrices, dtype=np.float32)
    mapped = np.asarray(points, dtype=np.float32) @ matrices[:, :, :2].transpose(0, 2, 1)
    return np.asarray(mapped + matrices[:, None, :, 2], dtype=np.float32)


def warp_crops(image: Array, matrices: Array, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut crops out of one picture with one ``cv2.warpAffine`` each.

    Args:
        image: (H, W, 3) uint8.
        matrices: (N, 2, 3) from :func:`crop_matrices`.
        input_size: (width, height) of the network's input.

    Returns:
        (N, height, width, 3) uint8; black where the region leaves the picture.
    """
    width, height = input_size
    crops = np.empty((len(matrices), height, width, 3), dtype=np.uint8)
    # A few crops: NumPy's calls would cost more than the arithmetic.
    for crop, matrix in zip(crops, np.asarray(matrices, dtype=np.float64)):
        part, adjusted = _part(image, matrix, _level(image, matrix), input_size)
        # OpenCV 5 warps four channels in half the time of three, to the same values.
        four = cv2.warpAffine(cv2.cvtColor(part, cv2.COLOR_BGR2BGRA), adjusted, input_size, flags=cv2.INTER_LINEAR)
        cv2.cvtColor(four, cv2.COLOR_BGRA2BGR, dst=crop)
    return crops


def _level(image: Array, matrix: Array) -> int:
    """The power of two by which a picture is averaged before it is sampled, at most as far as the crop shrinks it.

    Sampling alone would skip most pixels of a large person. A level is also taken where ``cv2.warpAffine`` would refuse
    the picture for its size.
    """
    longest = max(image.shape[:2])
    needed = 2 ** math.ceil(math.log2(max(1.0, longest / LONGEST_SIDE)))
    (a, b, _), (c, d, _) = matrix.tolist()
    source_pixels = 1 / math.sqrt(abs(a * d - b * c))
    return int(min(max(_power_of_two(source_pixels), needed), max(needed, longest)))


def _power_of_two(limit: float) -> int:
    """The largest that is not above ``limit``, at least 1."""
    return int(2 ** math.floor(math.log2(max(limit, 1.0))))


def _part(image: Array, matrix: Array, level: int, input_size: tuple[int, int]) -> tuple[Array, Array]:
    """What a crop shows of a picture, averaged down by ``level``, and the matrix that suits it."""
    (x1, x2), (y1, y2) = _reach(image, matrix, level, input_size)
    part, (width, height) = _halved(image[y1:y2, x1:x2], level)
    # Pixel centres: source = first + (shrunk + 0.5) * cell - 0.5.
    x, y = x1 + (width - 1) / 2, y1 + (height - 1) / 2
    rewritten = [[a * width, b * height, offset + a * x + b * y] for a, b, offset in matrix.tolist()]
    return part, np.array(rewritten)


def _halved(image: Array, level: int) -> tuple[Array, tuple[float, float]]:
    """A picture averaged down by a power of two, and how many of its pixels are one now, in x and in y.

    Of whole cells only, so fewer than ``level`` columns and rows are lost at the right and below: OpenCV takes several
    times as long for others. A side shorter than a cell becomes one pixel.
    """
    rows, columns = (max(side // level, 1) for side in image.shape[:2])
    image = image[: rows * level, : columns * level]
    height, width = image.shape[:2]
    while level > 1:
        level //= 2
        size = min(columns * level, width), min(rows * level, height)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image, (width / columns, height / rows)


def _reach(image: Array, matrix: Array, level: int, input_size: tuple[int, int]) -> list[tuple[int, int]]:
    """First, and one past the last, of the columns and of the rows that a crop shows, on a grid of ``level`` pixels.

    All of the picture where it shows none of it.
    """
    reach = []
    for (a, b, offset), side in zip(cv2.invertAffineTransform(matrix).tolist(), image.shape[1::-1]):
        ends = [a * u + b * v + offset for u in (0, input_size[0]) for v in (0, input_size[1])]
        # Two cells more: interpolation looks beside the last pixel, and rounding must not matter.
        low = (min(max(min(ends), -1e9), 1e9) // level - 2) * level
        high = (min(max(max(ends), -1e9), 1e9) // level + 3) * level
        reach.append((max(int(low), 0), min(int(high), side)))
    empty = any(high - low < level for low, high in reach)
    return [(0, image.shape[1]), (0, image.shape[0])] if empty else reach


def letterbox(image: Array, input_size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Shrink or grow a whole picture into the network's input, aspect kept, at the top left, black below or beside.

    Args:
        image: (H, W, 3) uint8.
        input_size: (width, height) of the network's input.

    Returns:
        (height, width, 3) uint8, and the scale (2,) float32 that takes source pixels to input pixels: ``xy * scale``.
    """
    height, width = image.shape[:2]
    factor = min(input_size[0] / width, input_size[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    canvas = np.zeros((input_size[1], input_size[0], 3), dtype=np.uint8)
    # Averaging keeps small people whole where a picture shrinks; sampling would drop many of their pixels.
    # Halved as long as no pixel is left over, which is quicker.
    image, _ = _halved(image, math.gcd(_power_of_two(1 / factor), width, height))
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    interpolation = cv2.INTER_LINEAR if scale >= SAMPLED else cv2.INTER_AREA
    canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=interpolation)
    return canvas, np.array([size[0] / width, size[1] / height], dtype=np.float32)


def centred_matrices(image_size: tuple[int, int], input_size: tuple[int, int]) -> NDArray[np.float32]:
    """The affine map of a whole picture into a network's input: as large as it fits, aspect kept, in the middle.

    The picture's outer edges, at -0.5 and width - 0.5, lie on edges of the input's pixels, as in ``cv2.resize``. So a
    mirrored picture gives a mirrored input, and inputs of different sizes show every point at the same share of their
    width.

    Args:
        image_size: (width, height) of the picture.
        input_size: (width, height) of the network's input.

    Returns:
        (1, 2, 3) float32, as :func:`crop_matrices` for one crop.
    """
    centres, sizes = crop_regions(np.array([[0, 0, *image_size]]), input_size, padding=1.0)
    matrices = crop_matrices(centres - 0.5, sizes, input_size)
    matrices[:, :, 2] -= 0.5
    return matrices


def centred_picture(image: Array, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 in the middle of a network's input, black beside: (height, width, 3) uint8."""
    matrices = centred_matrices((image.shape[1], image.shape[0]), input_size)
    return np.asarray(warp_crops(image, matrices, input_size)[0])


def as_channels(image: NDArray[np.uint8], color: str) -> NDArray[np.uint8]:
    """A BGR picture, or several, (…, H, W, 3) uint8, in the channel order ``"bgr"``, as it is, or ``"rgb"``, a copy."""
    if color == "bgr":
        return image
    # NumPy's image[..., ::-1] takes thirty times as long as soon as somebody needs it in one piece.
    rows = np.ascontiguousarray(image).reshape(-1, *image.shape[-2:])
    return np.asarray(cv2.cvtColor(rows, cv2.COLOR_BGR2RGB), np.uint8).reshape(image.shape)
