"""What ``python -m converters train``, ``average`` and ``clean`` do."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.catalogue import DESIGNS, Design
from converters.data import read_data
from converters.training.cleaning import cleaned_weights, filled_labels, look_twice
from converters.training.loop import SETTLED, Normalised, Recipe, Task, Training
from converters.training.people import STRIDE, people_of, read_labels
from converters.training.pictures import PicturePack
from converters.training.pose import LEARNT_BY_HEART, PoseTask
from converters.training.recipes import METHODS
from converters.training.recipes.bottom_up import BottomUpTask
from converters.training.recipes.mapd import DistilledPoseTask
from converters.training.schedule import Budget
from converters.training.teachers import find_teacher
from converters.weights import PREBUILT, load_weights, read_facts, save_weights, training_facts
from mobilepose_sdk.cli.common import check_writable
from mobilepose_sdk.errors import InvalidInputError

MOVENET_INPUT = (128, 192)
"""MoveNet reads crops of any size; this is enough for it to be sure, in half the time of the other networks'."""


@dataclass(frozen=True)
class Start:
    """What a run starts from, and how its network learns.

    Attributes:
        design: the network.
        data: folder with ``train.json``, ``dev.json`` and ``images/``.
        go_on: start from the packaged weights instead of random ones.
        method: one of :data:`converters.training.recipes.METHODS`; the design's usual recipe when None.
        teacher: what ``mapd`` learns from: the name of a trained network, or the path of MoveNet Thunder's weights.
        shares: α and β of the teacher's two terms; the paper's when None.
        labels: cleaned labels.
        seed: of the weights, the samples' order and their augmentation.
        budget: when the run stops.
    """

    design: Design
    data: Path
    budget: Budget
    go_on: bool = False
    method: str | None = None
    teacher: str | None = None
    shares: tuple[float, float] | None = None
    labels: Path | None = None
    seed: int = 0

    @property
    def folder(self) -> Path:
        return PREBUILT / self.design.name

    @property
    def way(self) -> list[str]:
        """How the command says what the run learns from, and with which seed."""
        way = ["--continue"] if self.go_on else []
        way += ["--recipe", self.method] if self.method else []
        way += ["--teacher", Path(self.teacher).name] if self.teacher else []
        way += ["--shares", *(f"{share:g}" for share in self.shares)] if self.shares else []
        way += ["--labels", self.labels.name] if self.labels else []
        return [*way, "--seed", str(self.seed)]

    def before(self, run: Path) -> dict[str, Any] | None:
        """Training facts of the weights the run starts from; None for random ones.

        A run that is resumed has them in its ``start.json``: other weights may be packaged by then.

        Raises:
            InvalidInputError: the folder's run was begun in another way; or there are no weights to continue from.
        """
        if not (run / "start.json").exists():
            return read_facts(self.folder) if self.go_on else None
        begun = json.loads((run / "start.json").read_text(encoding="utf-8"))
        if begun["command"] != self.command:
            raise InvalidInputError(
                f"{run} holds a run that was begun with {begun['command']}, not {self.command}; resume it as it was "
                "begun, or give another folder (--run)"
            )
        before: dict[str, Any] | None = begun["before"]
        return before

    @property
    def command(self) -> str:
        """The command of the run, as its card has it."""
        limits = [f"--minutes {self.budget.minutes:g}"] if math.isfinite(self.budget.minutes) else []
        limits += [f"--samples {self.budget.samples:.0f}"] if math.isfinite(self.budget.samples) else []
        return " ".join(["python -m converters train", self.design.name, "--data DATA", *limits, *self.way])

    def training(self, run: Path) -> Training:
        """The run, or what is left of it.

        Raises:
            SourceNotFoundError, InvalidInputError: the data or the labels are not as they should be.
            InvalidInputError: the method does not fit the network, or lacks its teacher; labels or shares do not
                fit the method; or the folder's run was begun in another way.
        """
        before = self.before(run)
        task, recipe = self._method(before)
        for name in ("train.json", "dev.json"):
            read_data(self.data / name)
        read_labels(self.labels)
        torch.manual_seed(recipe.seed)
        network = load_weights(self.design, self.folder) if self.go_on else self.design.network()
        training = Training(network, task, recipe, self.budget, run)
        training.save()  # with the weights it starts from: others may be packaged when it is resumed
        (run / "start.json").write_text(json.dumps({"command": self.command, "before": before}), encoding="utf-8")
        return training

    def _method(self, before: dict[str, Any] | None) -> tuple[Task, Recipe]:
        task, recipe = self.design.task(self.data), replace(self.design.recipe, seed=self.seed)
        seen = samples_seen(before)
        if self.go_on:
            recipe = recipe.for_trained(seen)
        if isinstance(task, PoseTask):
            # A GPU sees a million samples in minutes.
            task = task.for_trained(LEARNT_BY_HEART if torch.cuda.is_available() else seen)
        if self.labels is not None:
            if not isinstance(task, (PoseTask, BottomUpTask)):
                raise InvalidInputError("cleaned labels are of people's keypoints, which this network does not learn")
            task = replace(task, labels=self.labels)
        if self.teacher is not None:
            if self.method != "mapd":
                raise InvalidInputError("a teacher teaches by --recipe mapd alone")
            taught = DESIGNS[self.teacher].input_size if self.teacher in DESIGNS else self.design.input_size
            if taught != self.design.input_size:
                raise InvalidInputError(
                    f"{self.teacher} was trained on crops of {taught[0]}×{taught[1]}, and cannot teach on those of "
                    f"{self.design.name}, {self.design.input_size[0]}×{self.design.input_size[1]}"
                )
        if self.method is not None:
            task, recipe = METHODS[self.method](task, recipe, find_teacher(self.teacher) if self.teacher else None)
        if self.shares is not None:
            if not isinstance(task, DistilledPoseTask):
                raise InvalidInputError("shares are those of a teacher's terms: --recipe mapd has them")
            task = task.with_shares(*self.shares)
        return task, recipe


def train(start: Start, run: Path | None = None) -> Path:
    """Train a network, or resume its run, and write the best weights to ``prebuilt/<model>`` and the run's folder.

    Args:
        start: the network, and how it learns.
        run: folder of the run; ``runs/<model>`` when omitted.

    Returns:
        the path of the weights.

    Raises:
        SourceNotFoundError, InvalidInputError: as :meth:`Start.training` says; or the folder's run has ended, or it
            ended before it saw pictures of full size.
    """
    design = start.design
    run = run or Path("runs") / (design.name if start.method is None else f"{design.name}-{start.method}")
    if (run / "training.json").exists():
        raise InvalidInputError(f"the run in {run} has ended; give a new one another folder (--run), or move that one")
    if run.exists() and not run.is_dir():
        raise InvalidInputError(f"{run} is no folder; give the run one (--run)")
    training = start.training(run)
    best, network = training.fit(), training.network
    network.load_state_dict(torch.load(best, map_location="cpu", weights_only=True))
    facts = training_facts(design, run, start.data, start.command, start.seed, start.before(run))
    save_weights(network, run, facts)
    return save_weights(network, start.folder, facts)


def average(design: Design, data: Path, runs: list[Path]) -> str:
    """Write the mean of the weights of some runs to ``prebuilt/<model>`` if it is better than each of them.

    Runs that start from the same trained weights, with different seeds, end so close together that their mean works as
    well as they do, without a part of what each has learnt by chance; and one core each can train them at once.

    Args:
        design: the network.
        data: folder with ``dev.json`` and ``images/``.
        runs: folders of finished runs; the facts of the first one come first.

    Returns:
        the figures of all, for people.

    Raises:
        InvalidInputError: there is one run alone, one has not ended, or they started from different weights.
        ModelFileError: a run's weights are damaged, or of another network.
    """
    facts = [_finished(run) for run in runs]
    if len(runs) < 2 or facts[0]["before"] is None or any(fact["before"] != facts[0]["before"] for fact in facts):
        raise InvalidInputError("an average is of two runs or more that started from the same trained weights")
    task, stage = design.task(data), design.recipe.stages[-1]
    states = [load_weights(design, run).state_dict() for run in runs]
    network = design.network()
    model = Normalised(network).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lines, scores = [], []
    for name, state in [*zip(map(str, runs), states), ("average", mean_weights(states))]:
        network.load_state_dict(state)
        figures = task.figures(model, stage)
        scores.append(sum(figures[judge] for judge in task.judged_by))
        lines.append(f"{name}: " + "  ".join(f"{key} {value:.4f}" for key, value in figures.items()))
    if scores[-1] <= max(scores[:-1]):
        return "\n".join([*lines, "the average is no better: nothing was written"])
    others = "; ".join(f"`{fact['command']}`, {fact['samples']:,} samples" for fact in facts[1:])
    notes = f"{facts[0]['notes']} The weights are the mean (`average`) of this run's and of: {others}."
    return "\n".join([*lines, f"wrote {save_weights(network, PREBUILT / design.name, {**facts[0], 'notes': notes})}"])


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Of state dicts of one network; integers are the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def _finished(run: Path) -> dict[str, Any]:
    """Training facts of a run that has ended."""
    if not (run / "training.json").exists():
        raise InvalidInputError(f"{run} is no folder of a run that has ended: there is no training.json in it")
    return read_facts(run)


def samples_seen(facts: dict[str, Any] | None) -> int:
    """By a network with these training facts, in all of its runs; an imported checkpoint is a settled one."""
    if facts is None:
        return 0
    return SETTLED if "checkpoint" in facts else int(facts["samples"]) + samples_seen(facts.get("before"))


def clean(judge: str, data: Path, out: Path) -> str:
    """Write the labels of ``train.json``, and what the judge is sure of where there is none or it contradicts one.

    Args:
        judge: as :func:`find_teacher` takes it.
        data: folder with ``train.json`` and ``images/``.
        out: the JSON file to write: [x, y, weight] of all keypoints by annotation id, for ``train --labels``.

    Returns:
        what was found, for people.
    """
    check_writable(out)
    network = find_teacher(judge)
    content = read_data(data / "train.json")
    people, pack = people_of(content, fewest=0), PicturePack(content, data / "images")
    input_size = DESIGNS[judge].input_size if judge in DESIGNS else MOVENET_INPUT
    looks, confidence = look_twice(network, people, pack, input_size, STRIDE)
    labels, weights = np.stack([p.keypoints for p in people]), np.stack([p.weights for p in people])
    boxes = np.stack([p.box for p in people])
    sizes = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    cleaned = cleaned_weights(labels, weights, looks, confidence, sizes)
    filled, trust = filled_labels(labels, cleaned, looks, confidence, sizes)
    triples = np.concatenate([filled, trust[..., None]], axis=2)
    entries = {str(p.id): row.round(2).tolist() for p, row in zip(people, triples)}
    out.write_text(json.dumps(entries), encoding="utf-8")
    contradicted, added = cleaned < weights, trust > cleaned
    return (
        f"{int(contradicted.sum()):,} of {int((weights > 0).sum()):,} labels of {len(people):,} people are "
        f"contradicted, {int((contradicted & added).sum()):,} of them replaced; "
        f"{int((added & ~contradicted).sum()):,} are new; wrote {out}"
    )
