"""One resumable training run in one folder, whatever the task."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from converters.training.native.layers import use_native_layers
from converters.training.optimizer import MuonAdamW
from converters.training.precision import mixed_precision
from converters.training.samples import Consecutive, ShuffledSamples
from converters.training.schedule import AveragedWeights, Budget, Cosine, Schedule
from mobilepose_sdk.errors import InvalidInputError

log = logging.getLogger(__name__)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
REPORT_EVERY = 0.5
EVALUATE_EVERY = 6.0
"""Minutes."""
EVALUATING = 0.05
"""Share of a run's time that evaluations may take: on a slow processor they are farther apart."""
LONGEST_WAIT = 20.0
"""Minutes from one evaluation to the next, whatever it takes: a run that is killed loses no more."""
ON_GPU = 4
"""A GPU is filled by batches this many times as large, and is evaluated as much more often; the learning rate goes up
with the root of it, since as many gradients are averaged."""


@dataclass(frozen=True)
class Stage:
    """A part of the run at one input size.

    Attributes:
        input_size: (width, height) the network sees.
        until: share of the budget at which the stage ends.
        frozen: how the names of the parameters begin that stay as they are. The first layers see the largest maps, so
            steps are much faster when they are left alone.
        calm: whether samples are changed less than usual: the end of a run settles on pictures as they are. Tasks whose
            samples are changed little anyway need not heed it.
    """

    input_size: tuple[int, int]
    until: float
    frozen: tuple[str, ...] = ()
    calm: bool = False


SETTLED = 900_000
"""Samples after which a network has learnt what small pictures teach."""
CALM_FROM = 0.75
"""Share of a settled network's run after which its samples are calm."""


@dataclass(frozen=True)
class Recipe:
    """How a network is optimised, whatever it learns.

    Small stages come first: a quarter of the pixels costs a quarter of the time, and accuracy is limited by how many
    samples a run sees.
    """

    stages: tuple[Stage, ...]
    batch: int = 32
    peak_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip: float = 5.0
    seed: int = 0
    schedule: Schedule = field(default_factory=Cosine)

    def for_trained(self, samples: int) -> Recipe:
        """For a network that has seen so many samples.

        One that is settled goes on at full size alone, at half the rate, and at the end calm and with no layer left
        alone: what small pictures teach it has learnt. An hour at half size moved MobilePoseNet's PCK by 0.01, one at
        full size by 0.03. A younger one takes all stages but the first, the smallest, at the usual rate. A recipe with
        pictures of one size stays as it is.
        """
        if len(self.stages) == 1:
            return self
        schedule = self.schedule
        if samples < SETTLED:
            begun = self.stages[0].until
            stages = tuple(replace(stage, until=_after(begun, stage.until)) for stage in self.stages[1:])
            if isinstance(schedule, Cosine) and schedule.rise is not None:
                at, height = schedule.rise
                schedule = replace(schedule, rise=(_after(begun, at), height))
            return replace(self, stages=stages, schedule=schedule)
        if isinstance(schedule, Cosine):
            schedule = replace(schedule, rise=None)
        last = self.stages[-1]
        stages = replace(last, until=CALM_FROM), replace(last, calm=True, frozen=())
        return replace(self, stages=stages, schedule=schedule, peak_rate=self.peak_rate / 2)


def _after(begun: float, share: float) -> float:
    """A share of the budget as one of the budget that is left at ``begun``."""
    return (share - begun) / (1 - begun)


class Task(Protocol):
    """What a network learns: its samples, its loss and the figures it is judged by.

    Attributes:
        judged_by: the figures whose sum the best weights maximise.
    """

    @property
    def judged_by(self) -> tuple[str, ...]: ...

    def samples(self, stage: Stage, seed: int) -> ShuffledSamples[tuple[Tensor, ...]]:
        """Augmented samples whose first tensor is the (3, H, W) uint8 picture."""

    def loss(self, outputs: Any, pictures: Tensor, truth: tuple[Tensor, ...]) -> Tensor:
        """Loss of a batch: the network's float32 outputs for the pictures; ``truth`` is the samples' other tensors."""

    def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
        """Validation figures of a network that takes pictures of the sample's form."""


class Normalised(nn.Module):
    """uint8 pictures in, with ImageNet's mean and deviation applied to the channels as they come (LPN's convention)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, pictures: Tensor) -> Any:
        return self.network((pictures.float() - self.mean) / self.std)


class Training:
    """Trains a network on a task; the run's folder holds ``state.pt``, ``log.jsonl`` and ``best.pt``.

    Args:
        network: takes normalised (N, 3, H, W).
        task: see :class:`Task`.
        recipe: see :class:`Recipe`.
        budget: when to stop.
        run: folder of the run; one that holds a ``state.pt`` is resumed.
    """

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe, budget: Budget, run: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: Callable[[Tensor], Any] = Normalised(self.network).to(self.device)
        self.evaluate_every, self.loaders = EVALUATE_EVERY, 1
        if self.device.type == "cpu":
            use_native_layers(self.network)
        else:
            recipe = replace(recipe, batch=recipe.batch * ON_GPU, peak_rate=recipe.peak_rate * ON_GPU**0.5)
            self.evaluate_every, self.loaders = EVALUATE_EVERY / ON_GPU, max(1, min(8, (os.cpu_count() or 2) // 2))
            torch.backends.cudnn.benchmark = True
            # Kernels of these networks are so short that a GPU waits for the next one most of the time, unless their
            # whole sequence is recorded, which is what this mode does.
            self.model = torch.compile(self.model, mode="reduce-overhead", dynamic=False)
        self.wait = self.evaluate_every
        self.average = AveragedWeights(self.network)
        self.optimizer = MuonAdamW(self.network, recipe.peak_rate, recipe.weight_decay)
        self.task, self.recipe, self.budget, self.run = task, recipe, budget, run
        self.samples, self.minutes, self.best, self.restarted = 0, 0.0, -1.0, 0
        self.input_size = recipe.stages[0].input_size
        run.mkdir(parents=True, exist_ok=True)
        if (run / "state.pt").exists():
            self._load()

    @property
    def spent(self) -> float:
        return self.budget.spent(self.samples, self.minutes)

    def fit(self) -> Path:
        """Train until the budget is spent; returns the path of the best weights at the last stage's size.

        Ctrl-C saves the run before it ends.

        Raises:
            InvalidInputError: the budget was spent before the last stage.
        """
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the processes that load data are forked, and OpenCV's threads do not survive that
        try:
            for stage in self.recipe.stages:
                if self.spent < stage.until:
                    if stage.input_size != self.input_size:  # figures of one size say nothing about another's
                        self.average.restart()
                        self.best, self.input_size = -1.0, stage.input_size
                    self._run_stage(stage)
        except KeyboardInterrupt:
            self.save()
            raise
        finally:
            cv2.setNumThreads(threads)
        if self.input_size != self.recipe.stages[-1].input_size:
            raise InvalidInputError(
                f"the budget was spent on pictures of {self.input_size[0]}×{self.input_size[1]}, before those of full "
                "size: begin again in another folder (--run) with more --minutes or --samples"
            )
        return self.run / "best.pt"

    def _run_stage(self, stage: Stage) -> None:
        log.info("%s from sample %d", stage, self.samples)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(stage.frozen))
        loader = DataLoader(
            self.task.samples(stage, self.recipe.seed),
            batch_size=self.recipe.batch,
            sampler=Consecutive(self.samples),
            num_workers=self.loaders,
            prefetch_factor=4,
            pin_memory=self.device.type != "cpu",
        )
        started, began = time.monotonic(), (self.minutes, self.samples)
        reported = evaluated = self.minutes
        total = torch.zeros((), device=self.device)  # read seldom: a GPU would have to be waited for
        for step, batch in enumerate(loader, 1):
            total += self._step([part.to(self.device, non_blocking=True) for part in batch])
            self.samples += len(batch[0])
            self.minutes = began[0] + (time.monotonic() - started) / 60
            done = self.spent >= stage.until
            restart = sum(self.spent >= share for share in self.recipe.schedule.restarts) > self.restarted
            if self.minutes - reported > REPORT_EVERY:
                self._report((self.samples - began[1]) / (self.minutes - began[0]) / 60, float(total) / step)
                reported = self.minutes
            if done or restart or self.minutes - evaluated > self.wait:
                self._evaluate(stage, float(total) / step)
                evaluated = self.minutes
            if restart:
                self._restart()
            if done:
                return

    def _restart(self) -> None:
        """Go back to the best weights, and forget the optimizer's past (LPN §3.3)."""
        self.network.load_state_dict(torch.load(self.run / "best.pt", map_location=self.device, weights_only=True))
        self.average.restart()
        self.optimizer.forget()
        self.restarted += 1
        self.save()
        log.info("stage %d from the best weights", self.restarted + 1)

    def _step(self, batch: list[Tensor]) -> Tensor:
        self.optimizer.rate = self.recipe.peak_rate * self.recipe.schedule(self.spent)
        self.network.train()
        self.network.zero_grad()
        pictures = batch[0].contiguous(memory_format=torch.channels_last)
        with mixed_precision(self.device):
            outputs = self.model(pictures)
        loss = self.task.loss(as_float(outputs), pictures, tuple(batch[1:]))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.average.update()
        return loss.detach()

    def _report(self, rate: float, loss: float) -> None:
        left = self.minutes / max(self.spent, 1e-9) * (1 - self.spent)
        lr = self.optimizer.rate
        log.info("%7d samples %6.1f /s  loss %.3f  rate %.1e  %.0f min left", self.samples, rate, loss, lr, left)

    def _evaluate(self, stage: Stage, loss: float) -> None:
        began = time.monotonic()
        figures = self.task.figures(Normalised(self.average.network).to(self.device), stage)
        entry: dict[str, Any] = {"samples": self.samples, "minutes": round(self.minutes, 2), "loss": round(loss, 4)}
        entry |= {"input": list(stage.input_size), **{key: round(value, 4) for key, value in figures.items()}}
        with open(self.run / "log.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")
        log.info("dev.json: %s", "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
        score = sum(figures[name] for name in self.task.judged_by)
        if score > self.best:
            self.best = score
            torch.save(self.average.network.state_dict(), self.run / "best.pt")
        affordable = (time.monotonic() - began) / 60 / EVALUATING
        self.wait = min(max(self.evaluate_every, affordable), LONGEST_WAIT)
        self.save()

    def save(self) -> None:
        """Write ``state.pt``."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "samples": self.samples,
            "minutes": self.minutes,
            "best": self.best,
            "restarted": self.restarted,
            "input_size": self.input_size,
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
        self.restarted, self.input_size = state["restarted"], tuple(state["input_size"])
        log.info("resumed %s at %d samples, %.1f minutes", self.run, self.samples, self.minutes)


def as_float(outputs: Any) -> Any:
    """A network's one output, or its outputs, in float32."""
    return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)
