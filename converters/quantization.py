"""INT8 by NNCF's post-training quantization, calibrated on real training pictures as the SDK would prepare them."""

from __future__ import annotations

import json
from pathlib import Path

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from converters.catalogue import Design
from converters.training.people import read_people
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
    """``count`` inputs (1, H, W, 3) uint8: crops of annotated people, or, where the network reads those, pictures."""
    rng = np.random.default_rng(0)
    if _reads_pictures(design):
        annotations = json.loads((data / "train.json").read_text(encoding="utf-8"))
        ids = [image["id"] for image in annotations["images"] if image["all_people_annotated"]]
        pack = PicturePack(annotations, data / "images")
        chosen = rng.choice(ids, count, replace=False)
        return [_picture_input(pack[int(image_id)], design) for image_id in chosen]
    annotations, people = read_people(data / "train.json")
    pack = PicturePack(annotations, data / "images")
    picked = [people[int(index)] for index in rng.choice(len(people), count, replace=False)]
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
