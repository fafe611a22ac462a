"""An EfficientHRNet checkpoint becomes a folder that is opened like any other model. Random weights; half a minute."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
import torch
from fakes import colourful_pictures, write_pictures

from converters.__main__ import main
from converters.catalogue import DESIGNS, GROUPING
from converters.to_openvino import PictureInput
from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.models import ModelCard

NAME = "efficienthrnet-h-4"
SIDE = 384


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = DESIGNS[NAME].network().eval()
    with torch.no_grad():
        for head in network.final_layers:
            head.weight.mul_(600)  # as drawn, no heatmap would reach the detection threshold
    return network


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """A model folder that the import command made, FP32 and INT8, and what the command said."""
    place = tmp_path_factory.mktemp("import")
    checkpoint = {"state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()}}
    torch.save(checkpoint, place / "h-4.pth")
    write_pictures(place / "pictures", colourful_pictures())
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("converters")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    options = ["--precision", "fp32", "--precision", "int8", "--calibration", str(place / "pictures")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, about shapes that are constant by design
        assert main(["import", NAME, str(place / "h-4.pth"), "--out", str(place / "model"), *options]) == 0
    log.removeHandler(handler)
    return place / "model", said


def test_the_card_says_how_the_network_is_used(folder):
    card = ModelCard.read(folder[0])
    assert (card.approach, card.color, card.input_size, card.skeleton) == ("bottom-up", "rgb", (SIDE, SIDE), "coco-17")
    assert card.decoder == GROUPING
    assert card.outputs == [
        {"name": "heatmaps_and_tags", "shape": [1, 34, SIDE // 4, SIDE // 4]},
        {"name": "fine_heatmaps", "shape": [1, 17, SIDE // 2, SIDE // 2]},
    ]
    assert card.precisions == {"openvino": ["fp32", "int8"]}


def test_int8_says_how_many_pictures_it_used(folder):
    place, said = folder
    assert [line for line in said if line.startswith("calibrating with 2 inputs from")]
    assert ModelCard.read(place).quantization["pictures"] == 2
    assert "pictures 2" in (place / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("side", [SIDE, SIDE // 2], ids=repr)
def test_the_files_compute_what_the_network_does_at_every_size(folder, network, side):
    """Coarse heatmaps and tags first, fine heatmaps second, as in the official release; normalised inside."""
    batch = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = [output.numpy() for output in PictureInput(network)(torch.from_numpy(batch))]
    runtime = runtimes.load(ModelCard.read(folder[0]), "openvino", "fp32", 0, "CPU")
    outputs = runtime(batch)
    runtime.close()
    assert [output.shape for output in outputs] == [(1, 34, side // 4, side // 4), (1, 17, side // 2, side // 2)]
    for got, wanted in zip(outputs, expected, strict=True):
        assert np.abs(got - wanted).max() < 0.03 * np.ptp(wanted)  # some processors run FP32 files in bfloat16


@pytest.mark.parametrize("options", [{}, {"precision": "int8"}, {"flip_test": True}, {"scales": (0.5, 1)}], ids=repr)
def test_the_folder_is_opened_like_any_other_model(folder, options):
    with PoseEstimator(folder[0], **options) as estimator:
        results = estimator.batch(colourful_pictures())
    for picture, result in zip(colourful_pictures(), results, strict=True):
        assert len(result) > 0
        assert result.image_size == picture.shape[1::-1]
        assert np.isfinite(result.keypoints).all()
        assert (result.boxes >= 0).all() and (result.boxes <= np.tile(result.image_size, 2)).all()
