"""Official checkpoints load whole, or the error says what does not fit."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.__main__ import main
from converters.checkpoints import CheckpointError, load_checkpoint
from converters.networks.efficienthrnet import EfficientHRNet
from converters.networks.lpn import LPN
from converters.to_openvino import PictureInput
from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.runtimes.openvino import OpenVINORuntime

NETWORKS = {
    **{f"lpn-{depth}": (lambda depth=depth: LPN(depth)) for depth in (50, 101, 152)},
    **{f"efficienthrnet-h{phi or '0'}": (lambda phi=phi: EfficientHRNet(phi)) for phi in (0, -1, -2, -3, -4)},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "lpn.pth"
    torch.manual_seed(1)
    torch.save(LPN(50).state_dict(), path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_of_the_official_form_loads_whole(name: str, tmp_path: Path) -> None:
    """Names and shapes are those of the releases: test_networks.py compares them."""
    state = OrderedDict(
        (f"module.{key}", torch.zeros_like(value)) for key, value in NETWORKS[name]().state_dict().items()
    )
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "official.pth")
    network = load_checkpoint(NETWORKS[name](), tmp_path / "official.pth")
    assert not network.training
    assert all(not value.any() for value in network.state_dict().values())


def test_a_plain_state_dict_loads(checkpoint: Path) -> None:
    network = load_checkpoint(LPN(50), checkpoint)
    expected = torch.load(checkpoint, weights_only=True)
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_what_does_not_fit_is_listed(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state["bn1.bias"]
    state["surplus"] = torch.zeros(1)
    torch.save(state, checkpoint)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(LPN(50, keypoints=16), checkpoint)
    for part in ("1 missing: bn1.bias", "1 left over: surplus", "final_layer.weight (17, 256, 1, 1) instead of (16, "):
        assert part in str(caught.value)


def test_another_depth_names_a_few_and_counts_the_rest(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing: layer3\.6.* and \d+ more"):
        load_checkpoint(LPN(101), checkpoint)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"hello world", pickle.dumps(print, protocol=2)],
    ids=["empty", "text", "text that begins like a pickle", "code"],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"wrong\.pth"):
        load_checkpoint(LPN(50), path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="list"):
        load_checkpoint(LPN(50), tmp_path / "list.pth")


def test_keys_are_names(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(3)}, tmp_path / "numbers.pth")
    with pytest.raises(CheckpointError, match=r"numbers\.pth holds dict, not a state dict"):
        load_checkpoint(LPN(50), tmp_path / "numbers.pth")


def test_a_diverged_checkpoint_is_refused(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["conv1.weight"][0] = torch.nan
    torch.save(state, checkpoint)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in conv1\.weight"):
        load_checkpoint(LPN(50), checkpoint)


def test_an_imported_checkpoint_opens_like_a_packaged_model(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about shapes that are constant by design
        assert main(["import", "lpn-50", str(checkpoint), "--out", str(folder), "--precision", "fp32"]) == 0
    assert "Converted from `lpn.pth`" in (folder / "README.md").read_text(encoding="utf-8")
    assert ModelCard.read(folder).padding == 1.25  # official networks know the papers' crops
    crop = np.random.default_rng(0).integers(0, 256, (256, 192, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = PictureInput(load_checkpoint(LPN(50), checkpoint))(torch.from_numpy(crop[None])).numpy()
    heatmaps = OpenVINORuntime(folder / "openvino" / "fp32.xml")(crop[None])[0]
    assert np.abs(heatmaps - expected).max() <= 0.02 * np.ptp(expected)  # bfloat16 where the CPU has it
    with PoseEstimator(folder, precision="fp32", detector=None) as estimator:
        assert estimator(crop).keypoints.shape == (1, 17, 2)


def test_int8_without_calibration_pictures_says_what_to_give(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="3"):
        main(["import", "lpn-50", str(checkpoint), "--out", str(tmp_path / "model"), "--precision", "int8"])
    assert "--calibration FOLDER" in capsys.readouterr().err
