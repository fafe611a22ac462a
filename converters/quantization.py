"""INT8 by NNCF's post-training quantization, calibrated on real training pictures as the SDK would prepare them."""

from __future__ import annotations

import json
from pathlib import Path

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from converters.training.people import read_people
from converters.training.pictures import PicturePack
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.models import Kind
from mobilepose_sdk.preprocessing import crop_matrices, crop_regions, letterbox, warp_crops
from mobilepose_sdk.sources import expand_inputs, read_picture

CALIBRATION_COUNT = 320


def calibration_inputs(
    data: Path, kind: Kind, input_size: tuple[int, int], count: int = CALIBRATION_COUNT, seed: int = 0
) -> list[NDArray[np.uint8]]:
    """``count`` inputs (1, H, W, 3) uint8: crops of annotated people, or whole pictures for a detector."""
    rng = np.random.default_rng(seed)
    if kind == "detector":
        annotations = json.loads((data / "train.json").read_text(encoding="utf-8"))
        ids = [image["id"] for image in annotations["images"] if image["all_people_annotated"]]
        pack = PicturePack(annotations, data / "images")
        chosen = rng.choice(ids, count, replace=False)
        return [letterbox(pack[int(image_id)], input_size)[0][None] for image_id in chosen]
    annotations, people = read_people(data / "train.json")
    pack = PicturePack(annotations, data / "images")
    picked = [people[int(index)] for index in rng.choice(len(people), count, replace=False)]
    matrices = crop_matrices(*crop_regions(np.stack([p.box for p in picked]), input_size), input_size)
    return [warp_crops(pack[p.image_id], matrix[None], input_size) for p, matrix in zip(picked, matrices)]


def inputs_from_pictures(folder: Path, kind: Kind, input_size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Calibration inputs (1, H, W, 3) uint8 from anybody's pictures: people our detector finds, or whole pictures.

    Raises:
        SourceNotFoundError: the folder holds no pictures.
        InvalidInputError: nobody was found in them.
    """
    paths, problems = expand_inputs([folder])
    if problems:
        raise problems[0]
    images = [read_picture(path) for path in paths]
    if kind == "detector":
        return [letterbox(image, input_size)[0][None] for image in images]
    detector = PersonDetector()
    inputs = []
    for image in images:
        matrices = crop_matrices(*crop_regions(detector(image)[0], input_size), input_size)
        inputs += [crop[None] for crop in warp_crops(image, matrices, input_size)]
    if not inputs:
        raise InvalidInputError(f"no people were found in the {len(images)} pictures of {folder}")
    return inputs


def quantize(
    model: openvino.Model, inputs: list[NDArray[np.uint8]], keep_float: tuple[str, ...] = ()
) -> openvino.Model:
    """INT8 copy of a model.

    Args:
        model: floating-point IR of batch 1.
        inputs: calibration inputs, each (1, H, W, 3) uint8.
        keep_float: regular expressions of node names that stay floating because quantizing them costs accuracy.
    """
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(patterns=list(keep_float)) if keep_float else None,
    )
