"""Bottom-up: run the network on the whole picture, group the keypoints it finds into people, go back to the picture.

The evaluation of the HigherHRNet family scales a picture until its *short* side is as long as the network's input, lets
the long side be as long as it then is, and pads it to a multiple of 64 with black, evenly on both sides. A packaged
network has one static, square input. What the rule gives for a square picture fits it; any other picture is first
thought padded to a square, evenly above and below or left and right. So here the *long* side is as long as the input,
the picture lies in the middle, and the short side is padded with black. People in a picture of 4:3 are therefore 3/4 as
large as in that evaluation; ``scales=(4/3,)`` shows them at its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import keypoint_boxes
from mobilepose_sdk.decoding.grouping import group, import_assignment
from mobilepose_sdk.decoding.heatmaps import Method
from mobilepose_sdk.decoding.nms import Method as NMSMethod
from mobilepose_sdk.errors import InvalidInputError, ModelFileError
from mobilepose_sdk.models import DEFAULT_DETECTOR, ModelCard
from mobilepose_sdk.opencv import cv2
from mobilepose_sdk.pipelines.people import CONFIDENT, People, card_skeleton
from mobilepose_sdk.preprocessing import apply_affine, as_channels, centred_matrices, centred_picture, invert_affine
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.runtimes import Runtime
from mobilepose_sdk.skeleton import Skeleton

Array = NDArray[Any]
DECODER_SETTINGS = tuple(signature(group).parameters)[2:]
"""What a bottom-up card's decoder may hold: options of :func:`mobilepose_sdk.decoding.grouping.group`."""
BOX_MARGIN = 0.1
"""A person's box is the extent of their keypoints, with a tenth of its longer side on all four sides."""
MULTIPLE = 32
"""The network halves its input five times and adds up what it sees on the way."""
LARGEST_SCALE = 4.0


@dataclass(frozen=True)
class BottomUp:
    """One network for everybody in a picture, with its preparation and decoding.

    Attributes:
        card: the model; its input is square.
        runtime: the loaded model, with outputs (N, 2K, H, W), heatmaps and then tags, and (N, K, 2H, 2W), heatmaps.
        skeleton: keypoint layout of the heatmaps.
        grouping: options of :func:`mobilepose_sdk.decoding.grouping.group`.
        nms: merges people whom the grouping took apart; None does not.
        flip_test: also run every picture mirrored, average the heatmaps, and tell people apart by both pictures' tags.
        scales: sides of the picture to look at, in parts of the network's input, each brought up to a multiple of 32
            pixels; heatmaps are averaged, and people told apart by the tags of all (EfficientHRNet §4.2).
    """

    card: ModelCard
    runtime: Runtime
    skeleton: Skeleton
    grouping: dict[str, Any]
    nms: NMSMethod | None = "hard"
    flip_test: bool = False
    scales: tuple[float, ...] = (1.0,)

    find_boxes = None

    def __call__(self, images: list[Array], boxes: list[Array | None], *, exact: bool = True) -> list[PoseResult]:
        """See :class:`mobilepose_sdk.pipelines.people.Pipeline`. Pictures run one by one: each fills the processor."""
        if any(given is not None for given in boxes):
            raise InvalidInputError(
                f"{self.card.name} is a bottom-up model: it looks at the whole picture and finds everybody by itself, "
                "so it takes no boxes. Leave boxes out, or choose a top-down model"
            )
        return [self.people(image).merged(self.nms, self.skeleton).result(image, self.skeleton) for image in images]

    def close(self) -> None:
        self.runtime.close()

    def people(self, image: Array) -> People:
        """Everybody in a (H, W, 3) uint8 BGR picture, in no order.

        A person's box is the extent of the confident keypoints, or of all that were found where none is confident,
        grown by :data:`BOX_MARGIN`, at least by a map pixel, and clipped to the picture; who lies wholly beside the
        picture is left out. The box's score is the share of the skeleton that is confident. So a person's score, by
        eq. 6 of MobilePoseNet, is the sum of the confident keypoints' scores over the number of keypoints, as in the
        HigherHRNet family's parser. A keypoint that was not found is in the middle of those that were, with score 0.
        """
        heatmaps, tags = self._maps(image)
        xy, keypoint_scores = group(heatmaps, tags, **self.grouping)
        keypoints, pixel = self._in_picture(xy, heatmaps.shape[2], (image.shape[1], image.shape[0]))
        found = keypoint_scores > 0
        middle = (keypoints * found[:, :, None]).sum(axis=1) / np.maximum(found.sum(axis=1), 1)[:, None]
        keypoints = np.where(found[:, :, None], keypoints, middle[:, None]).astype(np.float32)
        confident = keypoint_scores > CONFIDENT
        shown = np.asarray(np.where(confident.any(axis=1, keepdims=True), confident, found))
        boxes = keypoint_boxes(keypoints, shown, BOX_MARGIN, smallest=pixel)
        boxes = np.clip(boxes, 0, np.tile(image.shape[1::-1], 2)).astype(np.float32)
        people = People(boxes, confident.mean(axis=1), keypoints, keypoint_scores)
        return people[np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))]

    def _maps(self, image: Array) -> tuple[Array, Array]:
        """Heatmaps (K, H, W) and tags (K, H, W, T) over all scales and both directions."""
        by_scale = [self._views(image, scale) for scale in self.scales]
        # One scale alone keeps its own resolution; of several, the one that is nearest the network's own sets it.
        nearest = int(np.abs(np.array(self.scales) - 1).argmin())
        size = by_scale[nearest][0][0].shape[1:]
        views = [view for views in by_scale for view in views]
        heatmaps = reduce(np.add, [_resized(heatmaps, size) for heatmaps, _ in views]) / np.float32(len(views))
        return heatmaps, np.stack([_resized(tags, size) for _, tags in views], axis=-1)

    def _views(self, image: Array, scale: float) -> list[tuple[Array, Array]]:
        """Heatmaps and tags (K, H, W) of a picture at one scale, as it is and, if asked for, mirrored."""
        side = math.ceil(round(self.card.input_size[0] * scale / MULTIPLE, 6)) * MULTIPLE
        picture = as_channels(centred_picture(image, (side, side)), self.card.color)
        views = [self._view(picture)]
        if self.flip_test:
            flip = self.skeleton.flip_indices
            heatmaps, tags = self._view(picture[:, ::-1])
            views.append((heatmaps[flip, :, ::-1], tags[flip, :, ::-1]))
        return views

    def _view(self, picture: Array) -> tuple[Array, Array]:
        """Heatmaps and tags (K, H, W) of one input: the mean of the heatmaps at both sizes, at the finer one."""
        coarse, fine = (output[0] for output in self.runtime(np.ascontiguousarray(picture[None])))
        coarse = _resized(coarse, fine.shape[1:])
        keypoints = len(self.skeleton)
        return (coarse[:keypoints] + fine) * np.float32(0.5), coarse[keypoints:]

    def _in_picture(self, xy: Array, map_side: int, image_size: tuple[int, int]) -> tuple[Array, float]:
        """Grouped positions (N, K, 2) in pixels of the picture, and how many of those a map pixel is wide.

        A map's pixel h covers the input's from stride·h to stride·(h + 1). The grouping counts from the outer edge of
        the first pixel, the SDK from its centre.
        """
        if not self.grouping.get("adjust", True):
            # Then peaks are whole numbers, their own indices; what the refinement filled in never is whole.
            xy = np.where(xy == np.floor(xy), xy + np.float32(0.5), xy)
        inverse = invert_affine(centred_matrices(image_size, self.card.input_size))
        stride = self.card.input_size[0] / map_side
        points = apply_affine(inverse, (xy * np.float32(stride) - np.float32(0.5)).reshape(1, -1, 2))
        return points.reshape(xy.shape), float(inverse[0, 0, 0] * stride)


def open_bottom_up(
    card: ModelCard,
    load: Callable[[], Runtime],
    *,
    detector: str | Path | Callable[[Array], Any] | None,
    decoder: Method | None,
    nms: NMSMethod | None,
    flip_test: bool,
    scales: Sequence[float] | None,
    blur: float | None = None,
) -> BottomUp:
    """A bottom-up model as its card and the caller want it; the options are those of the estimator.

    Args:
        card: the model.
        load: loads its network.

    Raises:
        InvalidInputError: an option that has no meaning here, or scales out of range.
        ModelFileError: the card is none of a bottom-up network.
        MissingDependencyError: SciPy is not installed.
    """
    if decoder is not None:
        raise InvalidInputError(
            f"decoder is how top-down models read their heatmaps; {card.name} is bottom-up and groups keypoints by "
            f"their tags, as its card says. Leave decoder out; got {decoder!r}"
        )
    if blur is not None:
        raise InvalidInputError(
            f"blur is for top-down models, before one keypoint is read from each heatmap; {card.name} is bottom-up. "
            f"Leave blur out; got {blur!r}"
        )
    if not (detector is None or detector == DEFAULT_DETECTOR):
        raise InvalidInputError(
            f"{card.name} is a bottom-up model: it finds everybody by itself and has no use for the detector "
            f"{detector!r}. Leave detector out, or choose a top-down model"
        )
    skeleton, sizes = card_skeleton(card), _checked_scales(scales)
    unknown = [name for name in card.decoder if name not in DECODER_SETTINGS]
    if unknown:
        raise ModelFileError(
            f"the card of {card.name} has decoder settings that grouping does not: {', '.join(unknown)}; "
            f"accepted: {', '.join(DECODER_SETTINGS)}"
        )
    channels, k = [output["shape"][1] for output in card.outputs], len(skeleton)
    if channels != [2 * k, k] or card.input_size[0] != card.input_size[1]:
        raise ModelFileError(
            f"the card of {card.name} is none of a bottom-up network: it must have a square input and outputs of "
            f"{2 * k} and {k} channels; got {card.input_size} and {channels}"
        )
    import_assignment()
    return BottomUp(card, load(), skeleton, card.decoder, nms, flip_test, sizes)


def _checked_scales(scales: Sequence[float] | None) -> tuple[float, ...]:
    """As numbers; the network's own size for None."""
    try:
        sizes = (1.0,) if scales is None else tuple(float(scale) for scale in scales)
    except (TypeError, ValueError):
        sizes = ()
    if isinstance(scales, (str, bytes)) or not sizes or not all(0 < size <= LARGEST_SCALE for size in sizes):
        raise InvalidInputError(
            f"scales must be numbers above 0 and at most {LARGEST_SCALE:g}, as (0.5, 1, 1.5); got {scales!r}"
        )
    return sizes


def _resized(maps: Array, size: tuple[int, ...]) -> Array:
    """Maps (C, H, W) at another (H, W): bilinear, the maps' outer edges lying on each other."""
    if maps.shape[1:] == size:
        return maps
    return np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in maps])
