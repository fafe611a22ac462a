"""`mobilepose tune`: measure a model's settings on this machine, keep the best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import tuning_store
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.runtimes import Runtime, open_files, precision_of
from mobilepose_sdk.threads import CPUSettings, Mode, candidates
from mobilepose_sdk.topology import Topology, read_topology

Make = Callable[[CPUSettings], Runtime]
WARM_UP = 3
"""Rounds that do not count."""
MARGIN = 0.05
"""A candidate has to be this much faster than the default to replace it: less is noise."""
BATCH = {"latency": 1, "throughput": 4}


@dataclass(frozen=True)
class Measurement:
    """One candidate.

    Attributes:
        settings: what was measured.
        milliseconds: median time an input: from call to answer (latency), or of all streams together (throughput).
    """

    settings: CPUSettings
    milliseconds: float


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes:
        topology: of this machine.
        measured: every candidate, the default first.
        winner: one of them.
        path: where it was kept; None where it was not.
    """

    topology: Topology
    measured: tuple[Measurement, ...]
    winner: Measurement
    path: Path | None = None


def tune(
    card: ModelCard,
    *,
    runtime: str = "openvino",
    precision: str | None = None,
    mode: Mode = "latency",
    repeats: int = 30,
    keep: bool = True,
) -> Tuning:
    """Measure the settings worth trying and keep the winner for ``threads="auto"``.

    Args:
        card: the model.
        runtime: the library that runs it.
        precision: the card's first when None.
        mode: what is to be fast: one picture, or many.
        repeats: rounds that count; every round runs each candidate once.
        keep: write the winner to the user's cache folder.

    Raises:
        ModelNotFoundError, ModelFileError: as when the model is opened.
        InvalidInputError: fewer than one repeat, or an unknown runtime.
        MissingDependencyError, TuningStoreError: the winner cannot be kept; said before anything is measured.
    """
    if repeats < 1:
        raise InvalidInputError(f"repeats must be at least 1, got {repeats}")
    if keep:
        tuning_store.prepare()
    topology = read_topology()
    precision = precision_of(card, runtime, precision)
    width, height = card.input_size
    batch = np.random.default_rng(0).integers(0, 256, (BATCH[mode], height, width, 3), dtype=np.uint8)
    paths = card.verified_files(runtime, precision)
    outputs = [output["name"] for output in card.outputs]
    make = partial(_open, runtime, paths, outputs)
    measured = measure(candidates(topology, mode), make, batch, repeats)
    winner = best(measured)
    path = None
    if keep:
        key = tuning_store.key_for(topology, card.files[runtime][precision], runtime, mode)
        path = tuning_store.write(key, winner.settings, [asdict(row) for row in measured])
    return Tuning(topology, tuple(measured), winner, path)


def measure(settings: Sequence[CPUSettings], make: Make, batch: NDArray[np.uint8], repeats: int) -> list[Measurement]:
    """Median time of an input for each of ``settings``, all measured in turn: a noisy moment slows all of them alike.

    Args:
        settings: the candidates.
        make: opens the model with one of them.
        batch: (N, H, W, 3) uint8, what every stream is given.
        repeats: rounds that count.
    """
    times: list[list[float]] = [[] for _ in settings]
    with ExitStack() as opened:
        runtimes = []
        for one in settings:
            runtimes.append(make(one))
            opened.callback(runtimes[-1].close)
        pool = opened.enter_context(ThreadPoolExecutor(max(one.streams for one in settings)))
        for turn in range(repeats + WARM_UP):
            for one, runtime, taken in zip(settings, runtimes, times):
                start = time.perf_counter()
                _round(runtime, batch, one.streams, pool)
                if turn >= WARM_UP:
                    taken.append((time.perf_counter() - start) / (len(batch) * one.streams))
    return [Measurement(one, statistics.median(taken) * 1e3) for one, taken in zip(settings, times)]


def best(measured: Sequence[Measurement]) -> Measurement:
    """The fastest, or the first where none is clearly faster than it."""
    fastest = min(measured, key=lambda row: row.milliseconds)
    return fastest if fastest.milliseconds < measured[0].milliseconds * (1 - MARGIN) else measured[0]


def _open(runtime: str, paths: Sequence[Path], outputs: Sequence[str], settings: CPUSettings) -> Runtime:
    return open_files(runtime, paths, settings, "CPU", outputs)


def _round(runtime: Runtime, batch: NDArray[np.uint8], streams: int, pool: Executor) -> None:
    """Every stream answers one batch."""
    if streams == 1:
        runtime(batch)
    else:
        for answer in [pool.submit(runtime, batch) for _ in range(streams)]:
            answer.result()
