"""Muon for dense convolutions, AdamW for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from converters.catalogue import DESIGNS
from converters.training.optimizer import MuonAdamW, _Muon

RATE = 1e-2


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),  # reads the picture
        nn.Conv2d(16, 24, 3, bias=False),  # dense
        nn.BatchNorm2d(24),
        nn.Conv2d(24, 24, 3, groups=24, bias=False),  # depthwise
        nn.Conv2d(24, 5, 1),  # head
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def weight(network: nn.Sequential, number: int) -> Tensor:
    return cast(Tensor, network[number].weight)


def mean_square(network: nn.Sequential) -> Tensor:
    """What the network is to make small, on one batch."""
    pictures = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return cast(Tensor, network(pictures).square().mean())


def learn(network: nn.Sequential, optimizer: MuonAdamW, steps: int = 1) -> list[Tensor]:
    """Some steps; how far each layer's weights moved."""
    before = [weight(network, n).detach().clone() for n in range(5)]
    for _ in range(steps):
        loss = mean_square(network)
        network.zero_grad()
        loss.backward()
        optimizer.step()
    return [weight(network, n).detach() - old for n, old in enumerate(before)]


def spread(change: Tensor) -> float:
    """Largest singular value over the smallest."""
    values = torch.linalg.svdvals(change.flatten(1))
    return float(values.max() / values.min())


def test_steps_of_dense_convolutions_alone_are_orthogonal(network: nn.Sequential) -> None:
    moved = learn(network, MuonAdamW(network, RATE, 0.0))
    assert spread(moved[1]) < 2.5  # Newton-Schulz brings singular values near 1, not to it
    assert spread(moved[0]) > 5
    assert torch.allclose(moved[4].abs(), torch.tensor(RATE), rtol=0.01)  # AdamW's first step


def test_steps_are_about_as_long_as_adams(network: nn.Sequential) -> None:
    moved = learn(network, MuonAdamW(network, RATE, 0.0))[1]
    assert 0.1 * RATE < float(moved.square().mean().sqrt()) < 0.4 * RATE


def test_matrices_of_one_shape_at_once_move_as_pytorchs_muon_moves_each() -> None:
    torch.manual_seed(0)
    shapes = [(16, 40), (40, 16), (16, 40), (24, 24)]
    mine = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in mine]
    options = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = _Muon(mine, **options), torch.optim.Muon(theirs, **options)
    for _ in range(4):
        for matrix, other in zip(mine, theirs):
            matrix.grad = torch.randn_like(matrix)
            other.grad = matrix.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for matrix, other in zip(mine, theirs):
        assert torch.allclose(matrix, other, atol=1e-3)  # a step is 0.02, in bfloat16


def test_a_run_learns(network: nn.Sequential) -> None:
    before = mean_square(network).item()
    learn(network, MuonAdamW(network, RATE, 0.0), steps=30)
    assert mean_square(network).item() < 0.5 * before


def test_frozen_layers_stay_as_they_are(network: nn.Sequential) -> None:
    network[1].requires_grad_(False)
    moved = learn(network, MuonAdamW(network, RATE, 0.1), steps=2)
    assert not moved[1].any() and moved[4].any()


def test_rate_is_that_of_all_layers(network: nn.Sequential) -> None:
    optimizer = MuonAdamW(network, RATE, 0.1)
    optimizer.rate = 0.0
    assert optimizer.rate == 0
    assert not any(change.any() for change in learn(network, optimizer))


def test_a_restored_optimizer_goes_on_as_the_saved_one(network: nn.Sequential, tmp_path: Path) -> None:
    optimizer = MuonAdamW(network, RATE, 0.0)
    learn(network, optimizer, steps=3)
    torch.save((network.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    expected = learn(network, optimizer)
    weights, memory = torch.load(tmp_path / "state.pt", weights_only=True)
    network.load_state_dict(weights)
    restored = MuonAdamW(network, RATE, 0.0)
    restored.load_state_dict(memory)
    for change, again in zip(expected, learn(network, restored)):
        assert torch.equal(change, again)


def test_a_forgetful_optimizer_begins_anew(network: nn.Sequential) -> None:
    optimizer = MuonAdamW(network, RATE, 0.0)
    learn(network, optimizer, steps=2)  # after three, some gradients are too small for Adam's ε
    optimizer.forget()
    assert torch.allclose(learn(network, optimizer)[4].abs(), torch.tensor(RATE), rtol=0.01)


@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet-256x192", "efficienthrnet-h-4"])
def test_most_of_a_papers_network_is_dense(name: str) -> None:
    network = DESIGNS[name].network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = MuonAdamW(network, RATE, 0.0)
    dense = sum(parameter.numel() for parameter in optimizer._dense)
    assert dense > 0.75 * sum(parameter.numel() for parameter in network.parameters())
