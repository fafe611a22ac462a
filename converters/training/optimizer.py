"""Muon for the dense convolutions of a network, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from converters.training.precision import number_type

PICTURE_CHANNELS = 3


class MuonAdamW:
    """Muon (Jordan et al. 2024) makes the steps of matrices orthogonal, which gets further on the same samples.

    A dense convolution is a matrix from patches to channels. Those before a BatchNorm, which alone have no bias here,
    are left to Muon, with steps as long as AdamW's; heads, gates, depthwise convolutions and the one that reads the
    picture are not.

    Args:
        network: channels last, on the device it is trained on. Its parameters must stay the same objects.
        rate: learning rate; may be set later.
        weight_decay: of both.
    """

    def __init__(self, network: nn.Module, rate: float, weight_decay: float) -> None:
        self._dense = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d) and _is_dense(layer)]
        # Muon takes matrices only: these are views of the weights.
        self._matrices = [nn.Parameter(_patches_last(weight.detach()).view(len(weight), -1)) for weight in self._dense]
        dense = {id(weight) for weight in self._dense}
        others = [parameter for parameter in network.parameters() if id(parameter) not in dense]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=rate, weight_decay=weight_decay, fused=True)
        ]
        if self._matrices:
            self._optimizers.append(_Muon(self._matrices, lr=rate, weight_decay=weight_decay))

    @property
    def rate(self) -> float:
        return float(self._optimizers[0].param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self) -> None:
        """Move all parameters that have a gradient."""
        for weight, matrix in zip(self._dense, self._matrices):
            matrix.grad = None if weight.grad is None else _patches_last(weight.grad).flatten(1)
        for optimizer in self._optimizers:
            optimizer.step()
        for matrix in self._matrices:
            matrix.grad = None

    def forget(self) -> None:
        """Drop the memory of earlier gradients."""
        for optimizer in self._optimizers:
            optimizer.state.clear()

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for optimizer, own in zip(self._optimizers, state, strict=True):
            optimizer.load_state_dict(own)


class _Muon(torch.optim.Muon):
    """PyTorch's Muon with Nesterov's momentum and steps as long as AdamW's, but for all matrices of one shape at once.

    A network has up to hundreds of small ones, and a GPU would spend more time on starting their steps than on them.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        (group,) = self.param_groups
        moved = [matrix for matrix in group["params"] if matrix.grad is not None]
        if not moved:
            return
        for matrix in moved:
            if matrix not in self.state:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix.grad)
        gradients = [matrix.grad for matrix in moved]
        memories = [self.state[matrix]["momentum_buffer"] for matrix in moved]
        torch._foreach_lerp_(memories, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, memories, group["momentum"])
        torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for matrix, update in zip(moved, updates):
            alike[matrix.shape].append((matrix, update))
        for shape, pairs in alike.items():
            matrices, theirs = zip(*pairs)
            steps = orthogonal(torch.stack(theirs), group["ns_coefficients"], group["ns_steps"], group["eps"])
            as_long_as_adams = 0.2 * max(shape) ** 0.5
            torch._foreach_add_(matrices, steps.unbind(), alpha=-group["lr"] * as_long_as_adams)


def orthogonal(
    matrices: Tensor, coefficients: tuple[float, float, float], iterations: int, smallest_norm: float
) -> Tensor:
    """About the orthogonal matrices nearest to some (N, rows, columns): Newton and Schulz's iteration."""
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(number_type(matrices.device))
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(smallest_norm)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _is_dense(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and layer.bias is None and layer.in_channels > PICTURE_CHANNELS


def _patches_last(weight: Tensor) -> Tensor:
    """A convolution's weights (out, in, height, width) as (out, height, width, in)."""
    return weight.permute(0, 2, 3, 1)
