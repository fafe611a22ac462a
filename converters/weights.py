"""A network's weights in a folder, and what they were made from. Training needs this, and nothing that converts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from converters.catalogue import Design
from converters.data import read_data, whole_pictures
from converters.sources import SOURCES
from mobilepose_sdk.errors import ModelFileError
from mobilepose_sdk.models import ModelCard

PREBUILT = Path(__file__).resolve().parent.parent / "prebuilt"


def save_weights(network: nn.Module, folder: Path, training: dict[str, Any]) -> Path:
    """Write ``weights.safetensors`` (fp16) and, beside it, ``training.json``: what the weights were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in half.items()}, folder / "weights.safetensors")
    (folder / "weights.safetensors").chmod(0o644)
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    return folder / "weights.safetensors"


def read_facts(folder: Path) -> dict[str, Any]:
    """What the weights in a folder were made from, as :func:`save_weights` wrote it.

    Raises:
        ModelFileError: there is no such file, or it is damaged.
    """
    path = folder / "training.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFileError(f"{folder} holds no trained weights: there is no training.json in it") from error
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}") from error
    return facts


def training_facts(
    design: Design, run: Path, data: Path, command: str, seed: int, before: dict[str, Any] | None
) -> dict[str, Any]:
    """What a run's weights were made from: data with terms, command, seed, samples, minutes and learning curve.

    Args:
        design: which model.
        run: the run's folder.
        data: the folder it was trained on.
        command: what began it.
        seed: of the run.
        before: the facts of the weights it started from; random ones when None.
    """
    curve = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    content = read_data(data / "train.json")
    top_down = design.kind == "pose" and design.approach == "top-down"
    used = content["images"] if top_down else whole_pictures(content)
    counts = Counter(image["source"] or "unnamed" for image in used)
    return {
        "command": command,
        "seed": seed,
        "samples": curve[-1]["samples"],
        "minutes": curve[-1]["minutes"],
        "machine": _machine(),
        "notes": _notes(run),
        "before": before,
        "data": {source: {"pictures": n, **SOURCES.get(source, {})} for source, n in sorted(counts.items())},
        "curve": curve,
    }


def _machine() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}"


def _notes(run: Path) -> str:
    """What the command alone does not tell, from the run's optional ``notes.txt``."""
    path = run / "notes.txt"
    return " " + path.read_text(encoding="utf-8").strip() if path.exists() else ""


def load_weights(design: Design, folder: Path) -> nn.Module:
    """The design's network with the folder's weights, in evaluation mode, float32.

    Raises:
        ModelFileError: there are none, they are damaged, or of another network.
    """
    network, path = design.network(), folder / "weights.safetensors"
    try:
        state = load_file(path)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelFileError(f"{path} does not hold weights of {design.name}: {error}") from error
    return network.eval()


def card_of_same_weights(folder: Path, training: dict[str, Any]) -> ModelCard | None:
    """The folder's card, unless there is none or its files were made from other weights."""
    if not (folder / "card.json").exists():
        return None
    card = ModelCard.read(folder)
    return card if card.training == json.loads(json.dumps(training)) else None
