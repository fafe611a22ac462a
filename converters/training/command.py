"""What ``python -m converters train`` and ``clean`` do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converters.catalogue import DESIGNS, Design
from converters.networks.movenet import load_movenet
from converters.packaging import PREBUILT, load_weights, save_weights, training_facts
from converters.training.cleaning import cleaned_weights, filled_labels, look_twice
from converters.training.loop import Normalised, Training
from converters.training.people import STRIDE, read_people
from converters.training.pictures import PicturePack
from converters.training.pose import PoseTask
from converters.training.recipes import METHODS
from converters.training.schedule import Budget
from mobilepose_sdk.errors import InvalidInputError

MOVENET_INPUT = (128, 192)
"""MoveNet reads crops of any size; this is enough for it to be sure, in half the time of the other networks'."""


def train(
    design: Design,
    data: Path,
    budget: Budget,
    run: Path | None = None,
    *,
    go_on: bool = False,
    method: str | None = None,
    teacher: str | None = None,
    labels: Path | None = None,
    seed: int = 0,
) -> Path:
    """Train a network, or resume its run, and write the best weights to ``prebuilt/<model>``.

    Args:
        design: the network.
        data: folder with ``train.json``, ``dev.json`` and ``images/``.
        budget: when to stop.
        run: folder of the run; ``runs/<model>`` when omitted.
        go_on: start from the packaged weights.
        method: one of :data:`converters.training.recipes.METHODS`; the design's usual recipe when omitted.
        teacher: what ``mapd`` learns from: the name of a trained network, or the path of MoveNet Thunder's weights.
        labels: cleaned labels.
        seed: of the weights, the samples' order and their augmentation.

    Returns:
        the path of the weights.

    Raises:
        InvalidInputError: the method does not fit the network, or lacks its teacher.
    """
    run = run or Path("runs") / (design.name if method is None else f"{design.name}-{method}")
    folder = PREBUILT / design.name
    task, recipe = design.task(data), replace(design.recipe, seed=seed)
    if go_on:
        recipe = recipe.for_trained()
    if labels is not None:
        if not isinstance(task, PoseTask):
            raise InvalidInputError("cleaned labels are for top-down networks")
        task = replace(task, labels=labels)
    if method is not None:
        task, recipe = METHODS[method](task, recipe, trained(teacher) if teacher else None)
    torch.manual_seed(recipe.seed)
    network = load_weights(design, folder) if go_on else design.network()
    before = json.loads((folder / "training.json").read_text(encoding="utf-8")) if go_on else None
    best = Training(network, task, recipe, budget, run).fit()
    network.load_state_dict(torch.load(best, map_location="cpu", weights_only=True))
    options = [f"--recipe {method}"] if method else []
    options += [f"--teacher {Path(teacher).name}"] if teacher else []
    options += [f"--labels {labels.name}"] if labels else []
    return save_weights(network, folder, training_facts(design, run, data, before, options, seed))


def trained(name: str) -> nn.Module:
    """A trained top-down network: a packaged one by its name, or MoveNet Thunder by the path of its ``.bin``.

    Raises:
        InvalidInputError: there is no trained one of that name.
        CheckpointError: the file is not MoveNet Thunder's.
    """
    if name.endswith(".bin"):
        return load_movenet(Path(name))
    top_down = [design.name for design in DESIGNS.values() if design.task is PoseTask]
    teachers = [name for name in top_down if (PREBUILT / name / "weights.safetensors").exists()]
    if name not in teachers:
        raise InvalidInputError(
            f"{name!r} is no trained top-down network; give one of {', '.join(teachers)}, or the path of "
            "movenet-thunder.bin"
        )
    return load_weights(DESIGNS[name], PREBUILT / name)


def clean(judge: str, data: Path, out: Path) -> str:
    """Write the labels of ``train.json``, without contradicted ones, and with new ones where the judge is sure.

    Args:
        judge: as :func:`trained` takes it.
        data: folder with ``train.json`` and ``images/``.
        out: the JSON file to write: [x, y, weight] of all keypoints by annotation id, for ``train --labels``.

    Returns:
        what was found, for people.
    """
    network = Normalised(trained(judge)).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    annotations, people = read_people(data / "train.json", fewest=0)
    pack = PicturePack(annotations, data / "images")
    input_size = DESIGNS[judge].input_size if judge in DESIGNS else MOVENET_INPUT
    looks, confidence = look_twice(_forward(network), people, pack, input_size, STRIDE)
    labels, weights = np.stack([p.keypoints for p in people]), np.stack([p.weights for p in people])
    boxes = np.stack([p.box for p in people])
    sizes = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    cleaned = cleaned_weights(labels, weights, looks, confidence, sizes)
    filled, trust = filled_labels(labels, cleaned, looks, confidence, sizes)
    triples = np.concatenate([filled, trust[..., None]], axis=2)
    entries = {str(p.id): row.round(2).tolist() for p, row in zip(people, triples)}
    out.write_text(json.dumps(entries), encoding="utf-8")
    contradicted, labelled = int((cleaned < weights).sum()), int((weights > 0).sum())
    return (
        f"{contradicted:,} of {labelled:,} labels of {len(people):,} people are contradicted, "
        f"{int((trust > cleaned).sum()):,} are new; wrote {out}"
    )


def _forward(network: nn.Module) -> Any:
    def forward(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return np.asarray(network(batch).float().numpy())

    return forward
