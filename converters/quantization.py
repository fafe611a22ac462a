"""INT8 by NNCF's post-training quantization, calibrated on real training pictures as the SDK would prepare them."""

from __future__ import annotations

from pathlib import Path

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from converters.catalogue import Design
from converters.data import read_data, whole_pictures
from converters.training.people import people_of
from converters.training.pictures import PicturePack
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.preprocessing import (
    as_channels,
    centred_picture,
    crop_matrices,
    crop_regions,
    letterbox,
    warp_crops,
)
from mobilepose_sdk.sources import expand_inputs, read_picture

CALIBRATION_COUNT = 320


def calibration_inputs(data: Path, design: Design, count: int = CALIBRATION_COUNT) -> list[NDArray[np.uint8]]:
    """Inputs (1, H, W, 3) uint8, ``count`` where there are so many: crops of people, or pictures, as the network reads.

    Raises:
        SourceNotFoundError: the folder has no ``train.json``, or lacks one of its pictures.
        InvalidInputError: the file is not as it should be, or holds nothing that the network could learn from.
    """
    content, rng = read_data(data / "train.json"), np.random.default_rng(0)
    pack = PicturePack(content, data / "images")
    if _reads_pictures(design):
        images = whole_pictures(content)
        chosen = rng.choice(len(images), min(count, len(images)), replace=False)
        return [_picture_input(pack[images[int(index)]["id"]], design) for index in chosen]
    people = people_of(content)
    picked = [people[int(index)] for index in rng.choice(len(people), min(count, len(people)), replace=False)]
    return [crop for person in picked for crop in _crop_inputs(pack[person.image_id], person.box[None], design)]


def inputs_from_pictures(folder: Path, design: Design) -> list[NDArray[np.uint8]]:
    """Calibration inputs (1, H, W, 3) uint8 from anybody's pictures: people our detector finds, or whole pictures.

    Raises:
        SourceNotFoundError: the folder holds no pictures.
        InvalidInputError: nobody was found in them.
    """
    paths, problems = expand_inputs([folder])
    if problems:
        raise problems[0]
    images = [read_picture(path) for path in paths]
    if _reads_pictures(design):
        return [_picture_input(image, design) for image in images]
    detector = PersonDetector()
    inputs = [crop for image in images for crop in _crop_inputs(image, detector(image)[0], design)]
    if not inputs:
        raise InvalidInputError(f"no people were found in the {len(images)} pictures of {folder}")
    return inputs


def _reads_pictures(design: Design) -> bool:
    return design.kind == "detector" or design.approach == "bottom-up"


def _picture_input(image: NDArray[np.uint8], design: Design) -> NDArray[np.uint8]:
    """A BGR picture (H, W, 3) as the SDK gives it to a detector or a bottom-up network."""
    detector = design.kind == "detector"
    picture = letterbox(image, design.input_size)[0] if detector else centred_picture(image, design.input_size)
    return as_channels(picture, design.color)[None]


def _crop_inputs(image: NDArray[np.uint8], boxes: NDArray[np.float32], design: Design) -> list[NDArray[np.uint8]]:
    """The people in boxes (N, 4) of a BGR picture as the SDK gives them to a top-down network."""
    matrices = crop_matrices(*crop_regions(boxes, design.input_size), design.input_size)
    crops = warp_crops(image, matrices, design.input_size)
    return [crop[None] for crop in as_channels(crops, design.color)]


def quantize(model: openvino.Model, inputs: list[NDArray[np.uint8]], float_first: int = 0) -> openvino.Model:
    """INT8 copy of a model.

    Args:
        model: floating-point IR of batch 1.
        inputs: calibration inputs, each (1, H, W, 3) uint8.
        float_first: how many convolutions, from the first on, stay floating because quantizing them costs accuracy.
    """
    kinds = ("Convolution", "GroupConvolution")
    convolutions = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in kinds]
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=convolutions[:float_first]),
    )
