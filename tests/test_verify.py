"""``python -m converters verify``: what it measures, and when it says no."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters import __main__ as program
from converters import verify as module
from converters.catalogue import DESIGNS, Design
from converters.verify import COUNT, Comparison, real_inputs, untrained, verify
from converters.weights import save_weights
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError

PICTURES = Path(__file__).parent.parent / "examples" / "pictures"
SMALL = replace(DESIGNS["mobileposenet-256x192"], input_size=(64, 96))


def inputs(count: int = COUNT) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, 96, 64, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.quantization, "quantize", lambda model, inputs, float_first: model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_equals_its_openvino_file(tmp_path: Path) -> None:
    result = verify(SMALL, inputs(), inputs(), tmp_path, ("openvino",))
    (comparison,) = result.comparisons
    assert result.passed and not result.trained and result.inputs == 8
    assert 0 < comparison.differences["heatmaps"] < 1e-3
    assert comparison.shifts.shape == (8 * 17,)
    assert np.median(comparison.shifts) == 0  # what was not quantized moves at most where two peaks are equal
    assert comparison.noise["heatmaps"] < 0.05  # weights stored as FP16
    assert "random ones (seed 0)" in str(result) and "keypoints moved by" in str(result)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_trained_weights_are_used_where_there_are_some(tmp_path: Path) -> None:
    save_weights(SMALL.network(), tmp_path, {})
    assert verify(SMALL, inputs(), inputs(), tmp_path, ("openvino",)).trained


def test_a_folder_that_is_not_there_does_not_mean_random_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no folder .*none"):
        verify(SMALL, inputs(1), inputs(1), tmp_path / "none", ("openvino",))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(DESIGNS["elpn-v1"].network(), tmp_path, {})
    with pytest.raises(InvalidInputError, match="does not fit mobileposenet-256x192"):
        verify(SMALL, inputs(1), inputs(1), tmp_path, ("openvino",))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_rewrite_that_changes_the_outputs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network.eval()

        def forward(self, x: Tensor) -> Tensor:
            return 1.01 * self.network(x)

    monkeypatch.setattr("converters.to_openvino.deployable", Twice)
    result = verify(SMALL, inputs(), inputs(), tmp_path, ("openvino",))
    assert not result.passed
    assert "OVER 0.001" in str(result)


def test_a_runtime_that_cannot_be_converted_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingDependencyError("onnx2tf is not installed")

    monkeypatch.setattr(module, "write_files", missing)
    result = verify(SMALL, inputs(1), inputs(1), tmp_path, ("tflite",))
    assert result.comparisons == []
    assert "tflite: not checked: onnx2tf is not installed" in str(result)
    assert not result.passed  # nothing was shown


@pytest.mark.parametrize(("difference", "code"), [(0.9e-3, 0), (1.1e-3, 1)])
def test_the_command_fails_over_the_bound(difference: float, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = Comparison("openvino", {"heatmaps": difference}, {"heatmaps": 0.1}, np.zeros(3, np.float32))
    monkeypatch.setattr(module, "real_inputs", lambda *_: (inputs(1), inputs(1)))
    monkeypatch.setattr(module, "verify", lambda *_: module.Verification(True, 1, [comparison], {}))
    if code:
        with pytest.raises(SystemExit, match="1"):
            program.main(["verify", "lpn-50"])
    else:
        assert program.main(["verify", "lpn-50"]) == 0


@pytest.mark.parametrize("name", ["lpn-50", "efficienthrnet-h-4"])
def test_eight_inputs_are_made_of_few_pictures(name: str) -> None:
    compared, calibration = real_inputs(DESIGNS[name], None, PICTURES)
    width, height = DESIGNS[name].input_size
    assert [x.shape for x in compared] == [(1, height, width, 3)] * 8
    assert len({x.tobytes() for x in compared}) == 8
    assert len(calibration) >= 8


def test_random_weights_are_the_same_each_time_and_look_trained() -> None:
    design: Design = DESIGNS["lpn-50"]
    one, other = (untrained(design.network, inputs(2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    assert not one.training
    norms = [m for m in one.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.running_mean is not None and norm.running_mean.abs().sum() > 0 for norm in norms)
