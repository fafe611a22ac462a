"""The training loop of a top-down pose network."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from converters.training.augmentation import Augmentation
from converters.training.losses import HeatmapLoss, gaussian_targets
from converters.training.people import STRIDE, Consecutive, PoseSamples
from converters.training.schedule import AveragedWeights, Budget, cosine_rate
from converters.training.validation import Validation

log = logging.getLogger(__name__)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Stage:
    """A part of the run at one input size.

    Attributes:
        input_size: (width, height) of the crops.
        until: share of the budget at which the stage ends.
        sigma: standard deviation of the target Gaussian, heatmap pixels.
    """

    input_size: tuple[int, int]
    until: float
    sigma: float


@dataclass(frozen=True)
class PoseRecipe:
    """Everything that decides the outcome of a run beside the data and the budget.

    The small stage first: a quarter of the pixels costs a quarter of the time, and a run's accuracy is limited by how
    many samples it saw.
    """

    stages: tuple[Stage, ...] = (Stage((96, 128), 0.70, 1.5), Stage((192, 256), 1.0, 2.0))
    batch: int = 32
    peak_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip: float = 5.0
    seed: int = 0
    loss: HeatmapLoss = field(default_factory=HeatmapLoss)
    augmentation: Augmentation = field(default_factory=Augmentation)


def normalised(crops: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float with ImageNet's mean and deviation, channels as they come (LPN's convention)."""
    mean = torch.tensor(MEAN, device=crops.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(STD, device=crops.device).view(1, 3, 1, 1) * 255
    return (crops.float() - mean) / std


class PoseTraining:
    """One resumable run in one folder: ``state.pt``, ``log.jsonl`` and the best weights so far.

    Args:
        network: what to train.
        data: folder with ``train.json``, ``dev.json`` and ``images/``.
        run: folder of the run; one that holds a ``state.pt`` is resumed.
        recipe: see :class:`PoseRecipe`.
        budget: when to stop.
    """

    def __init__(self, network: nn.Module, data: Path, run: Path, recipe: PoseRecipe, budget: Budget) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedWeights(self.network)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.data, self.run, self.recipe, self.budget = data, run, recipe, budget
        self.validate = Validation(data)
        self.samples, self.minutes, self.best = 0, 0.0, -1.0
        run.mkdir(parents=True, exist_ok=True)
        if (run / "state.pt").exists():
            self._load()

    def fit(self, evaluate_every: float = 6.0) -> Path:
        """Train until the budget is spent; returns the path of the best weights."""
        while self.spent < 1:
            self._run_stage(next(stage for stage in self.recipe.stages if self.spent < stage.until), evaluate_every)
        return self.run / "best.pt"

    @property
    def spent(self) -> float:
        return self.budget.spent(self.samples, self.minutes)

    def _run_stage(self, stage: Stage, evaluate_every: float) -> None:
        log.info("stage %s from sample %d", stage, self.samples)
        dataset = PoseSamples(
            self.data / "train.json", self.data / "images", stage.input_size, self.recipe.augmentation, self.recipe.seed
        )
        loader = DataLoader(
            dataset,
            batch_size=self.recipe.batch,
            sampler=Consecutive(self.samples, self.samples + 10**9),
            num_workers=1 if self.device.type == "cpu" else 12,
            prefetch_factor=4,
        )
        started, began_minutes, last_report, last_evaluation = time.monotonic(), self.minutes, 0.0, self.minutes
        began_samples, total = self.samples, 0.0
        for step, batch in enumerate(loader, 1):
            total += self._step(stage, *(part.to(self.device, non_blocking=True) for part in batch))
            self.samples += len(batch[0])
            self.minutes = began_minutes + (time.monotonic() - started) / 60
            done = self.spent >= stage.until
            if self.minutes - last_report > 0.5:
                rate = (self.samples - began_samples) / (self.minutes - began_minutes) / 60
                left = self.minutes / max(self.spent, 1e-9) * (1 - self.spent)
                log.info(
                    "%7d samples  %5.1f /s  loss %.3f  rate %.2e  %.0f min left",
                    self.samples, rate, total / step, self.optimizer.param_groups[0]["lr"], left,
                )  # fmt: skip
                last_report = self.minutes
            if done or self.minutes - last_evaluation > evaluate_every:
                self._evaluate(stage, total / step)
                last_evaluation = self.minutes
            if done:
                return

    def _step(self, stage: Stage, crops: Tensor, xy: Tensor, weights: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = cosine_rate(self.spent, self.recipe.peak_rate)
        self.network.train()
        inputs = normalised(crops).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            heatmaps = self.network(inputs)
        size = (stage.input_size[0] // STRIDE, stage.input_size[1] // STRIDE)
        loss = self.recipe.loss(heatmaps.float(), gaussian_targets(xy, size, stage.sigma), weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.average.update(self.network)
        return float(loss.detach())

    def _evaluate(self, stage: Stage, loss: float) -> None:
        def forward(crops: Tensor) -> Tensor:
            inputs = normalised(crops.to(self.device)).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16):
                return self.average.network(inputs)

        figures = self.validate(forward, stage.input_size)
        entry = {"samples": self.samples, "minutes": round(self.minutes, 2), "loss": round(loss, 4)}
        entry |= {"input": list(stage.input_size), **{key: round(value, 4) for key, value in figures.items()}}
        with open(self.run / "log.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")
        log.info("dev.json: PCK@0.2 %.3f  AP %.3f", figures["pck"], figures["ap"])
        final_size = stage.input_size == self.recipe.stages[-1].input_size
        if final_size and figures["pck"] + figures["ap"] > self.best:
            self.best = figures["pck"] + figures["ap"]
            torch.save(self.average.network.state_dict(), self.run / "best.pt")
        self._save()

    def _save(self) -> None:
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "samples": self.samples,
            "minutes": self.minutes,
            "best": self.best,
            "recipe": asdict(self.recipe),
        }
        torch.save(state, self.run / "state.tmp")
        (self.run / "state.tmp").replace(self.run / "state.pt")  # a killed run never leaves half a checkpoint

    def _load(self) -> None:
        state = torch.load(self.run / "state.pt", map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.samples, self.minutes, self.best = state["samples"], state["minutes"], state["best"]
        log.info("resumed %s at %d samples, %.1f minutes", self.run, self.samples, self.minutes)
