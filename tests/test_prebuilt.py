"""The packaged models on real pictures: the demo's always, the development set's where it is present."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilepose_sdk import PersonDetector, PoseEstimator, list_models
from mobilepose_sdk.errors import ModelFileError, ModelNotFoundError
from mobilepose_sdk.evaluation import evaluate_detector, evaluate_poses
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.runtimes.openvino import BUCKETS, OpenVINORuntime

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "examples" / "pictures" / "astronaut.jpg"
DATA = ROOT.parent / "shared" / "data"
FACE = (225, 110)
"""Between the astronaut's eyes, pixels."""

needs_data = pytest.mark.skipif(
    not (DATA / "dev.json").exists(), reason=f"needs the development pictures in {DATA}, which are not distributed"
)


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator()


TRAINED = [card for card in list_models() if card.trained]
UNTRAINED = [card for card in list_models() if not card.trained]


@pytest.mark.parametrize("card", UNTRAINED, ids=lambda card: card.name)
def test_an_untrained_network_is_listed_but_cannot_be_opened(card: ModelCard) -> None:
    assert card.parameters and card.macs and not card.accuracy
    with pytest.raises(ModelNotFoundError, match=rf"{card.name} is not trained.*train {card.name}.*import {card.name}"):
        PoseEstimator(card.name)


@pytest.mark.parametrize("card", TRAINED, ids=lambda card: card.name)
def test_every_card_is_complete_and_every_file_is_as_it_says(card: ModelCard) -> None:
    assert card.precisions
    for runtime, precisions in card.precisions.items():
        for precision in precisions:
            for path in card.verified_files(runtime, precision):
                assert path.stat().st_size > 0
            assert card.accuracy[f"{runtime}-{precision}"]
    assert card.licence
    assert "checkpoint" in card.training or all(entry["terms"] for entry in card.training["data"].values())
    assert (card.folder / "README.md").read_text(encoding="utf-8").startswith(f"# {card.name}")


def test_openvino_is_loaded_without_its_telemetry(estimator: PoseEstimator) -> None:
    program = (
        "import sys; from mobilepose_sdk import PoseEstimator; PoseEstimator(); "
        "print([name for name in sys.modules if 'openvino_telemetry' in name])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_finds_the_astronaut_and_her_face(estimator: PoseEstimator) -> None:
    result = estimator(PICTURE)
    assert len(result) == 1
    x1, y1, x2, y2 = result.boxes[0]
    assert x1 < FACE[0] < x2
    assert y1 < FACE[1] < y2
    eyes = result.keypoints[0, 1:3].mean(axis=0)
    assert np.linalg.norm(eyes - FACE) < 40
    left_shoulder, right_shoulder = result.keypoints[0, 5:7]
    assert left_shoulder[0] > right_shoulder[0] + 50
    assert min(left_shoulder[1], right_shoulder[1]) > FACE[1]


def test_nobody_in_an_empty_picture(estimator: PoseEstimator) -> None:
    result = estimator(np.full((300, 400, 3), 127, np.uint8))
    assert len(result) == 0
    assert result.keypoints.shape == (0, 17, 2)


def test_a_mirrored_picture_gives_mirrored_people(estimator: PoseEstimator) -> None:
    upright = estimator(PICTURE)
    with Image.open(PICTURE) as picture:
        mirrored = estimator(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert len(upright) == len(mirrored) == 1
    expected = upright.keypoints[0, upright.skeleton.flip_indices] * [-1, 1] + [511, 0]
    confident = upright.keypoint_scores[0] > 0.5
    distance = np.linalg.norm(mirrored.keypoints[0] - expected, axis=1)[upright.skeleton.flip_indices]
    assert np.median(distance[confident[upright.skeleton.flip_indices]]) < 20


def test_batches_of_every_size_equal_single_calls(estimator: PoseEstimator) -> None:
    boxes = np.array([[60 + 5 * i, 10 + 3 * i, 400 + 4 * i, 500] for i in range(11)], np.float32)
    together = estimator(PICTURE, boxes=boxes)
    for index in range(len(boxes)):
        alone = estimator(PICTURE, boxes=boxes[index : index + 1])
        np.testing.assert_allclose(alone.keypoints[0], together.keypoints[index], atol=1.5)


def test_precisions_agree() -> None:
    box = np.array([[20, 0, 460, 512]], np.float32)
    results = {}
    for precision in ("int8", "fp16"):
        with PoseEstimator(precision=precision, detector=None) as estimator:
            results[precision] = estimator(PICTURE, boxes=box)
    confident = results["fp16"].keypoint_scores[0] > 0.5
    distance = np.linalg.norm(results["int8"].keypoints[0] - results["fp16"].keypoints[0], axis=1)
    assert confident.sum() >= 5
    assert distance[confident].max() < 15


def test_an_altered_model_file_is_refused(tmp_path: Path) -> None:
    card = next(card for card in TRAINED if card.kind == "pose")
    for path in card.folder.rglob("*"):
        if path.suffix in (".json", ".xml", ".bin"):
            target = tmp_path / path.relative_to(card.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    weights = bytearray((tmp_path / "openvino" / "int8.bin").read_bytes())
    weights[1000] ^= 1
    (tmp_path / "openvino" / "int8.bin").write_bytes(weights)
    with pytest.raises(ModelFileError, match="altered"):
        PoseEstimator(tmp_path)


@pytest.mark.parametrize("content", ["", "<net>", '<net name="cut" version="11"><layers>'])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.xml"
    path.write_text(content)
    with pytest.raises(ModelFileError, match=r"broken\.xml"):
        OpenVINORuntime(path)


def test_batch_sizes_are_static() -> None:
    card = next(card for card in list_models() if card.kind == "detector")
    runtime = OpenVINORuntime(card.verified_files("openvino", "int8")[0])
    width, height = card.input_size
    for count in (1, 3, BUCKETS[-1] + 3):
        output = runtime(np.zeros((count, height, width, 3), np.uint8))[0]
        assert output.shape == (count, *card.outputs[0]["shape"][1:])


@needs_data
@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet-256x192"])
def test_int8_reaches_its_cards_figures(name: str) -> None:
    card = next(card for card in list_models() if card.name == name)
    with PoseEstimator(name, precision="int8", detector=None) as estimator:
        figures = evaluate_poses(estimator, DATA / "dev.json", DATA / "images").figures
    stated = card.accuracy["openvino-int8"]
    assert figures["lsp"]["PCK@0.2"] == pytest.approx(stated["PCK@0.2"], abs=0.01)
    assert figures["coco2017_train2017"]["AP"] == pytest.approx(stated["AP"], abs=0.015)
    floating = card.accuracy["openvino-fp16"]
    assert stated["PCK@0.2"] > floating["PCK@0.2"] - 0.01
    assert stated["AP"] > floating["AP"] - 0.01


@needs_data
def test_detector_reaches_its_cards_figures() -> None:
    card = next(card for card in list_models() if card.kind == "detector")
    curve = evaluate_detector(PersonDetector(min_score=0.03), DATA / "dev.json", DATA / "images")
    assert curve.average_precision == pytest.approx(card.accuracy["openvino-int8"]["AP50"], abs=0.01)


@needs_data
def test_real_pictures_with_detection_give_sound_results(estimator: PoseEstimator) -> None:
    images = json.loads((DATA / "dev.json").read_text(encoding="utf-8"))["images"][:24]
    results = estimator.batch([DATA / "images" / image["file_name"] for image in images])
    assert [result.image_size for result in results] == [(image["width"], image["height"]) for image in images]
    assert np.mean([len(result) > 0 for result in results]) > 0.7
    for result in results:
        assert np.isfinite(result.keypoints).all()
        assert (np.diff(result.scores) <= 0).all()
