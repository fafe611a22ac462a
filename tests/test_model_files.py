"""Which files a model folder has after each command, with converters that only write names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import model_files, packaging, quantization, to_openvino
from converters.__main__ import main
from converters.catalogue import DESIGNS
from converters.model_files import Files, Request, quantization_facts
from converters.packaging import package
from mobilepose_sdk.errors import MissingDependencyError, ModelFileError
from mobilepose_sdk.models import ModelCard, ModelFile
from mobilepose_sdk.preprocessing import PADDING

DESIGN = DESIGNS["lpn-50"]
INPUTS = [np.zeros((1, 256, 192, 3), np.uint8)] * 3
TRAINING = {"command": "a run", "licence": "Apache-2.0", "checkpoint": "a.pth", "sha256": "0"}


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(design: Any, network: Any, folder: Path, request: Request, inputs: Any) -> dict[str, Files]:
        return {
            runtime: {p: [ModelFile(f"{runtime}/{p}", len(inputs), "")] for p in request.precisions}
            for runtime in request.runtimes
        }

    monkeypatch.setattr(packaging, "write_files", write)


def made(folder: Path, *runtimes: Any, training: dict[str, Any] = TRAINING) -> ModelCard:
    package(DESIGN, DESIGN.network(), folder, Request(("int8", "fp16"), runtimes), INPUTS, training)
    return ModelCard.read(folder)


@pytest.mark.parametrize("order", [("openvino", "tflite"), ("tflite", "openvino")])
def test_one_runtimes_files_leave_the_others_listed(tmp_path: Path, order: tuple[str, str]) -> None:
    first = made(tmp_path, order[0])
    assert first.precisions == {order[0]: ["int8", "fp16"]}
    both = made(tmp_path, order[1])
    assert both.precisions == {"openvino": ["int8", "fp16"], "tflite": ["int8", "fp16"]}
    assert both.quantization == {
        "method": "NNCF post-training, mixed preset",
        "pictures": 3,
        "tflite": "TensorFlow post-training, integers throughout, 3 pictures",
    }
    assert both.outputs == first.outputs == [{"name": "heatmaps", "shape": [1, 17, 64, 48]}]


def test_files_of_other_weights_are_not_listed_any_more(tmp_path: Path) -> None:
    made(tmp_path, "openvino")
    assert list(made(tmp_path, "tflite", training={**TRAINING, "sha256": "1"}).precisions) == ["tflite"]


def test_an_imported_networks_crops_are_the_papers_whoever_packs_it(tmp_path: Path) -> None:
    assert "checkpoint" in TRAINING and made(tmp_path, "openvino").padding == PADDING != DESIGN.padding


def test_files_that_openvino_cannot_run_are_noticed_when_they_are_made(tmp_path, monkeypatch) -> None:
    def broken(model: Any, folder: Path, precision: str) -> list[Path]:
        (tmp_path / "int8.xml").write_text("no network")
        return [tmp_path / "int8.xml"]

    monkeypatch.setattr(to_openvino, "convert", lambda *arguments: None)
    monkeypatch.setattr(to_openvino, "save", broken)
    monkeypatch.setattr(quantization, "quantize", lambda model, *_: model)
    with pytest.raises(ModelFileError, match="INT8 may need more calibration pictures"):
        model_files.write_files(DESIGN, DESIGN.network(), tmp_path, Request(("int8",)), INPUTS)


def test_both_at_once(tmp_path: Path) -> None:
    assert list(made(tmp_path, "tflite", "openvino").precisions) == ["openvino", "tflite"]


def test_floating_files_were_not_calibrated() -> None:
    assert quantization_facts({"tflite": {"fp16": []}, "openvino": {"fp32": []}}, 5) == {}


def test_the_card_says_what_stayed_floating() -> None:
    facts = quantization_facts({"openvino": {"int8": []}, "tflite": {"int8": []}}, 300, float_first=3)
    assert facts["method"] == "NNCF post-training, mixed preset, but for the first 3 convolutions"
    assert facts["tflite"] == "TensorFlow post-training, integers but for the first 3 convolutions, 128 pictures"
    assert quantization_facts({"openvino": {"int8": []}}, 9, float_first=1)["method"].endswith("the first convolution")


def test_a_missing_environment_is_noticed_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    request = Request(("fp16",), ("openvino", "tflite"), tmp_path / "none")
    with pytest.raises(MissingDependencyError, match="none does not exist"):
        model_files.write_files(DESIGN, DESIGN.network(), tmp_path, request, [])
    assert not list(tmp_path.iterdir())


def test_the_command_line_passes_runtimes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Request] = []

    def build(design: Any, data: Any, request: Request) -> ModelCard:
        seen.append(request)
        return ModelCard.read(packaging.PREBUILT / design.name)

    monkeypatch.setattr(packaging, "build", build)
    main(["build", "elpn-v1"])
    main(["build", "elpn-v1", "--runtime", "tflite", "--runtime", "openvino", "--tflite-python", "x"])
    assert seen == [
        Request(["int8", "fp16"], ["openvino"], None),
        Request(["int8", "fp16"], ["tflite", "openvino"], Path("x")),
    ]
