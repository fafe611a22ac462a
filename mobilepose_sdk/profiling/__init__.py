"""What a model costs on this machine: time stage by stage, cold start, memory, size, and its slowest layers.

    profiles = profile([Configuration("lpn-50"), Configuration("lpn-50", precision="fp16")])

All configurations are measured in turn, so that a noisy moment slows all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mobilepose_sdk import runtimes
from mobilepose_sdk.errors import InvalidInputError, ProfilingError
from mobilepose_sdk.models import DEFAULT_DETECTOR, DEFAULT_POSE_MODEL, ModelCard, find_model
from mobilepose_sdk.profiling.process import FreshRun, fresh_run
from mobilepose_sdk.profiling.spread import Spread, warnings_for
from mobilepose_sdk.profiling.stages import STAGES, open_stages
from mobilepose_sdk.threads import Threads

WARM_UP = 5
"""Turns that do not count."""
TOTAL = "total"


@dataclass(frozen=True)
class Configuration:
    """What is profiled.

    Attributes:
        model: name of a packaged pose model, or a model folder.
        runtime: the library that runs it.
        precision: the card's first when None.
        threads: CPU threads; 0 is ``"auto"``.
        batch: people in the picture (top-down), or pictures at once (bottom-up).
        detector: finds people, top-down.
    """

    model: str = DEFAULT_POSE_MODEL
    runtime: str = "openvino"
    precision: str | None = None
    threads: int = 0
    batch: int = 1
    detector: str = DEFAULT_DETECTOR

    def __str__(self) -> str:
        threads = f"{self.threads} threads" if self.threads else "auto threads"
        return f"{self.model} {self.runtime} {self.precision or 'default'}, {threads}, batch {self.batch}"


@dataclass(frozen=True)
class Layer:
    """One layer of the compiled network: its name, what runs it, and milliseconds a pass."""

    name: str
    kind: str
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """What one configuration costs.

    Attributes:
        configuration: what was measured, its precision resolved.
        settings: threads and streams it ran with.
        stages: by name, in the order of :data:`STAGES`, milliseconds a call; those that the model does not have are
            missing. ``"total"`` is last.
        model_bytes: size of the network's files, without the detector's.
        fresh: cold start and peak memory, measured in a process of its own; None where they were not.
        layers: the ten slowest, slowest first; none where the runtime does not tell.
        warnings: why the figures may not be trusted; none where nothing was noticed.
    """

    configuration: Configuration
    settings: str
    stages: dict[str, Spread]
    model_bytes: int
    fresh: FreshRun | None
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...]


def profile(
    configurations: Sequence[Configuration],
    *,
    repeats: int = 50,
    fresh: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Profile]:
    """Measure configurations on the packaged sample picture, all in turn.

    Args:
        configurations: what to compare.
        repeats: turns that count; every turn runs each configuration once.
        fresh: also measure cold start and peak memory, each in a new process.
        progress: called with turns done and turns in all.

    Returns:
        a profile a configuration, in the same order.

    Raises:
        InvalidInputError: nothing to measure, or a number below 1.
        ModelNotFoundError, ModelFileError, MissingDependencyError: as when the model is opened.
    """
    if not configurations or repeats < 1 or any(one.batch < 1 or one.threads < 0 for one in configurations):
        raise InvalidInputError("profiling needs a configuration, and repeats, batch and threads of at least 1")
    cards = [find_model(one.model, "pose") for one in configurations]
    configurations = [_resolved(one, card) for one, card in zip(configurations, cards)]
    taken: list[dict[str, list[float]]] = [{} for _ in configurations]
    with ExitStack() as opened:
        turns = [opened.enter_context(open_stages(one)) for one in configurations]
        for number in range(repeats + WARM_UP):
            for turn, times in zip(turns, taken):
                measured = turn()
                for name, milliseconds in {**measured, TOTAL: sum(measured.values())}.items():
                    if number >= WARM_UP:
                        times.setdefault(name, []).append(milliseconds)
            if progress is not None:
                progress(number + 1, repeats + WARM_UP)
    fresh_runs = [_fresh_run(one, card) if fresh else (None, ()) for one, card in zip(configurations, cards)]
    return [
        Profile(
            configuration=one,
            settings=str(runtimes.cpu_settings(card, one.runtime, str(one.precision), Threads(one.threads))),
            stages={name: Spread.of(times[name]) for name in (*STAGES, TOTAL) if name in times},
            model_bytes=sum(file.bytes for file in card.files[one.runtime][str(one.precision)]),
            fresh=started,
            layers=tuple(Layer(*row) for row in _slowest_layers(card, one)),
            warnings=(*warnings_for(times[TOTAL]), *problems),
        )
        for one, card, times, (started, problems) in zip(configurations, cards, taken, fresh_runs)
    ]


def _resolved(one: Configuration, card: ModelCard) -> Configuration:
    """With the precision that its model's card names first, where none was asked for."""
    precision = one.precision or next(iter(card.files.get(one.runtime, {})), None)
    return Configuration(one.model, one.runtime, precision, one.threads, one.batch, one.detector)


def _fresh_run(one: Configuration, card: ModelCard) -> tuple[FreshRun | None, tuple[str, ...]]:
    """What a new process tells, or why it does not: what was timed before stands without it."""
    try:
        return fresh_run(_arguments(one, card)), ()
    except ProfilingError as error:
        return None, (str(error),)


def _arguments(one: Configuration, card: ModelCard) -> dict[str, Any]:
    """A configuration as arguments of ``PoseEstimator``; folders, since the new process runs in another one."""
    named = {"model": str(card.folder.resolve()), "runtime": one.runtime, "precision": one.precision}
    if card.approach == "top-down":
        named["detector"] = str(find_model(one.detector).folder.resolve())
    return {**named, **({"threads": one.threads} if one.threads else {})}


def _slowest_layers(card: ModelCard, one: Configuration) -> list[tuple[str, str, float]]:
    if one.runtime != "openvino":
        return []
    from mobilepose_sdk.runtimes.openvino import layer_times

    settings = runtimes.cpu_settings(card, one.runtime, str(one.precision), Threads(one.threads))
    path = card.verified_files(one.runtime, str(one.precision))[0]
    inputs = (one.batch if card.approach == "top-down" else 1, *card.input_size[::-1], 3)
    return sorted(layer_times(path, settings, inputs), key=lambda row: -row[2])[:10]
