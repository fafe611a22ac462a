"""What NNCF sees when it chooses the ranges of INT8."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from coco_people import BOXES, entry
from fakes import FakeRuntime, colourful_pictures, make_card, write_pictures

from converters.catalogue import DESIGNS
from converters.quantization import calibration_inputs, inputs_from_pictures
from mobilepose_sdk.pipelines.bottom_up import BottomUp
from mobilepose_sdk.skeleton import COCO_17

NAME = "efficienthrnet-h-4"
SIDE = 384


def seen_by_the_pipeline(picture):
    """What EfficientHRNet H-4 is shown of a picture when it is used."""
    card = make_card(approach="bottom-up", input_size=[SIDE, SIDE], color="rgb")
    empty = np.zeros((51, 8, 8), np.float32)

    class Seeing(FakeRuntime):
        def __call__(self, batch):
            super().__call__(batch)
            return [empty[None, :34], empty[None, 34:]]

    runtime = Seeing(empty)
    BottomUp(card, runtime, COCO_17, {})([picture], [None])
    return runtime.seen[0]


def test_int8_is_calibrated_on_what_the_pipeline_shows_the_network(tmp_path):
    write_pictures(tmp_path, colourful_pictures())
    inputs = inputs_from_pictures(tmp_path, DESIGNS[NAME])
    assert len(inputs) == 2
    for given, picture in zip(inputs, colourful_pictures(), strict=True):
        np.testing.assert_array_equal(given, seen_by_the_pipeline(picture))


def test_a_top_down_network_is_calibrated_on_people_in_its_own_colour_order(tmp_path, monkeypatch):
    class Finds:
        def __call__(self, image):
            return np.array([[10, 20, 200, 250], [50, 5, 90, 100]], np.float32), np.ones(2)

    monkeypatch.setattr("converters.quantization.PersonDetector", Finds)
    write_pictures(tmp_path, colourful_pictures()[:1])
    bgr, rgb = (inputs_from_pictures(tmp_path, replace(DESIGNS["lpn-50"], color=color)) for color in ("bgr", "rgb"))
    assert [crop.shape for crop in bgr] == [(1, 256, 192, 3)] * 2
    np.testing.assert_array_equal(np.stack(bgr), np.stack(rgb)[..., ::-1])


def test_our_own_calibration_of_a_bottom_up_network_is_on_whole_pictures(tmp_path, monkeypatch):
    """Of those whose people are all annotated."""
    write_pictures(tmp_path / "images", colourful_pictures())
    images = [{"id": n, "file_name": f"{n}.png", "all_people_annotated": n == 1} for n in range(2)]
    content = {"images": images, "annotations": [entry(1, 0, BOXES[0])], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "train.json").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # decoded pictures are kept in the working directory
    (given,) = calibration_inputs(tmp_path, DESIGNS[NAME])  # as many as there are
    np.testing.assert_array_equal(given, seen_by_the_pipeline(colourful_pictures()[1]))
