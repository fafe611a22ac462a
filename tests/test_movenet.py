"""The teacher: MoveNet's published weights, and whose peaks its heatmaps keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tfjs_graphs import BREAKS, break_graph, write_graph

from converters.checkpoints import CheckpointError
from converters.networks.movenet import WIDTHS, MoveNet, _sources, load_movenet, of_the_middle_person


def published(network: MoveNet, folder: Path) -> Path:
    """The network's weights as the TensorFlow.js graph that they are published in."""
    tensors = {}
    for layer, prefix, names in _sources(network):
        tensors[f"graph/{prefix}/{names[0]}"] = (
            layer.weight.detach().numpy().transpose((2, 3, 0, 1) if layer.groups > 1 else (2, 3, 1, 0))
        )
        if layer.bias is not None:
            tensors[f"graph/{prefix}/{names[1]}"] = layer.bias.detach().numpy()
    return write_graph(tensors, [], folder / "movenet-thunder.bin")


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_every_weight_comes_from_the_graph(width: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = MoveNet(width).half().float()
    ours = load_movenet(published(theirs, tmp_path))
    assert not ours.training
    for (name, wanted), got in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        assert torch.equal(got, wanted), name


def test_heatmaps_have_a_quarter_of_the_pictures_size() -> None:
    with torch.inference_mode():
        assert MoveNet().eval()(torch.zeros(2, 3, 64, 96)).shape == (2, 17, 16, 24)


@pytest.mark.parametrize("broken", BREAKS)
def test_files_that_are_something_else_are_refused(tmp_path: Path, broken: str) -> None:
    path = published(MoveNet(), tmp_path)
    break_graph(path, broken)
    with pytest.raises(CheckpointError, match="not MoveNet"):
        load_movenet(path)


def scene(*people: tuple[int, int, float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heatmaps, centres and offsets (32×24) of people with one keypoint, 6 px right of their centre (y, x, height)."""
    rows, columns = np.mgrid[:32, :24]
    heatmap, centre = np.zeros((32, 24)), np.zeros((32, 24))
    for y, x, height in people:
        heatmap = np.maximum(heatmap, height * np.exp(-((rows - y) ** 2 + (columns - x - 6) ** 2) / 8))
        centre = np.maximum(centre, np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8))
    offsets = np.zeros((2, 32, 24))
    offsets[1] = 6
    return tuple(torch.from_numpy(map_[None].astype(np.float32)) for map_ in (heatmap[None], centre[None], offsets))  # type: ignore[return-value]


def test_the_middle_persons_peak_stays_as_it_is() -> None:
    maps = scene((15, 12, 0.6))
    kept = of_the_middle_person(*maps)
    assert kept.flatten().argmax() == 15 * 24 + 18
    assert kept.max() == pytest.approx(0.6, abs=1e-5)


def test_another_persons_higher_peak_is_taken_down() -> None:
    kept = of_the_middle_person(*scene((15, 12, 0.6), (3, 2, 0.95)))[0, 0]
    assert kept.flatten().argmax() == 15 * 24 + 18
    assert kept[15, 18] == pytest.approx(0.6, abs=1e-5)
    assert kept[3, 8] < 0.2
