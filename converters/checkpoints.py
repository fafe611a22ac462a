"""Official checkpoints: read safely, and loaded only when every parameter fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilepose_sdk.errors import MobilePoseError

MOST_LISTED = 12


class CheckpointError(MobilePoseError, ValueError):
    """A checkpoint cannot be read, or does not fit the network."""


def load_checkpoint(network: nn.Module, path: Path) -> nn.Module:
    """Load a PyTorch checkpoint into a network, which is returned in evaluation mode.

    Accepted are a plain state dict and one under the key ``state_dict``, with or without the ``module.`` prefix that
    data-parallel training leaves. The file is read with ``weights_only``: it cannot run code.

    Raises:
        CheckpointError: the file is no such checkpoint; or, listing them, parameters are missing, left over or of
            another shape; or a number is NaN or infinite.
    """
    state = _read(path)
    wanted = network.state_dict()
    problems = {
        "missing": [name for name in wanted if name not in state],
        "left over": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    found = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{path} does not fit this network; " + "; ".join(found))
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f"{path} holds NaN or infinity in {_listed(broken)}")
    network.load_state_dict(state)
    return network.eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever it stumbled over
        raise CheckpointError(f"{path} is not a PyTorch checkpoint that can be read safely: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError(f"{path} holds {type(content).__name__}, not a state dict or one under 'state_dict'")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown}, … and {len(names) - MOST_LISTED} more"
