"""Trained networks that are asked for their opinion: the fastest way to ask gives the opinion of the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from converters.catalogue import DESIGNS
from converters.training import teachers
from converters.training.teachers import find_teacher, in_pytorch
from converters.weights import PREBUILT, load_weights
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.preprocessing import crop_matrices, crop_regions, warp_crops

PICTURE = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"
NAME = "mobileposenet-256x192"


def test_a_teacher_is_a_trained_top_down_network() -> None:
    for name in ("lpn-51", "person-detector"):
        with pytest.raises(InvalidInputError, match=f"{name}.*give one of lpn-50.*movenet-thunder.bin"):
            find_teacher(name)


@pytest.fixture(scope="module")
def crops() -> Tensor:
    """(2, 3, 256, 192) of the astronaut, from near and from farther away."""
    boxes = np.array([[60, 0, 400, 512], [0, 0, 512, 512]], np.float32)
    size = DESIGNS[NAME].input_size
    pictures = warp_crops(cv2.imread(str(PICTURE)), crop_matrices(*crop_regions(boxes, size), size), size)
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())


def test_a_packaged_file_sees_what_its_weights_see(crops: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "in_pytorch", None)  # not asked
    file = find_teacher(NAME)(crops)
    weights = in_pytorch(load_weights(DESIGNS[NAME], PREBUILT / NAME))(crops)
    assert file.shape == weights.shape == (2, 17, 64, 48) and file.dtype == torch.float32
    (xy, sure), (expected, _) = decode(file.numpy()), decode(weights.numpy())
    apart = np.linalg.norm(xy - expected, axis=2)
    assert (sure > 0.5).sum() > 12
    assert np.median(apart) < 1 and apart[sure > 0.5].max() < 3  # heatmap pixels; processors round integers differently


@pytest.mark.parametrize("changed", ["no card", "other weights", "no files"])
def test_weights_without_a_file_of_theirs_are_asked_themselves(
    changed: str, crops: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PREBUILT / NAME, tmp_path / NAME)
    monkeypatch.setattr(teachers, "PREBUILT", tmp_path)
    monkeypatch.setattr(teachers, "in_openvino", None)
    card = tmp_path / NAME / "card.json"
    entries = json.loads(card.read_text())
    if changed == "no card":
        card.unlink()
    elif changed == "other weights":
        card.write_text(json.dumps({**entries, "training": {**entries["training"], "samples": 1}}))
    else:
        card.write_text(json.dumps({**entries, "files": {}}))
    weights = in_pytorch(load_weights(DESIGNS[NAME], PREBUILT / NAME))
    assert torch.equal(find_teacher(NAME)(crops), weights(crops))


def test_a_teacher_does_not_learn(crops: Tensor) -> None:
    network = load_weights(DESIGNS[NAME], PREBUILT / NAME).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    heatmaps = in_pytorch(network)(crops)
    assert not heatmaps.requires_grad and not heatmaps.is_inference()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
