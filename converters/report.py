"""``python -m converters report``: ``docs/accuracy.md``, from the cards, whole pictures, and latencies run in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from converters.catalogue import DESIGNS
from converters.packaging import pose_figures
from mobilepose_sdk.estimator import PoseEstimator
from mobilepose_sdk.models import DEFAULT_DETECTOR, ModelCard, list_models
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.topology import read_topology

DOCS = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
HEADER = """# Accuracy

`python -m converters report --data DATA --threads {threads}` writes this page: accuracy from the model cards (measured
by `python -m converters build` on the development pictures, single pass, given boxes but for bottom-up networks, which
take none), latency of the network alone, batch 1, median of {repeats} interleaved runs on {threads} threads of: {cpu}.

PCK@0.2 counts the 12 body keypoints of 500 people doing sports (LSP); AP is COCO's, of 82 people in 79 pictures:
differences under about 3 points of AP are noise.
"""
PEERS = """
## What others reach on these pictures

Same pictures, same boxes, single pass, each at its best crop margin. `python benchmarks/peers_accuracy.py --data DATA
--movenet movenet-lightning.bin movenet-thunder.bin` printed the first rows: MoveNet's weights in fp32, decoded as our
heatmaps are, MediaPipe on 512×512 crops. The last two are the figures that were published with the pictures, of
MoveNet's own INT8 file and of MediaPipe; nothing here prints those.

| model | GMACs | PCK@0.2 | AP |
|---|---|---|---|
| MoveNet Lightning | 0.26 | 0.843 | 0.285 |
| MoveNet Thunder | 1.20 | 0.885 | 0.366 |
| MediaPipe Pose full (static mode) | – | 0.827 | 0.169 |
| MoveNet Lightning INT8, as published | 0.26 | 0.849 | 0.269 |
| MediaPipe Pose full (static mode), as published | – | 0.834 | 0.174 |
"""


def write_report(data: Path, threads: int, repeats: int = 60, path: Path = DOCS) -> Path:
    """Measure whole pictures and latencies, and write the page.

    Args:
        data: folder with ``dev.json`` and ``images/``.
        threads: CPU threads.
        repeats: runs whose median is the latency.
        path: the page.

    Returns:
        its path.
    """
    cards = list_models()
    trained = [card for card in cards if card.trained]
    latency = latencies(trained, threads, repeats)
    parts = [HEADER.format(threads=threads, repeats=repeats, cpu=read_topology().name)]
    parts.append("\n## Pose networks\n\n" + _table(POSE_COLUMNS, pose_rows(trained, latency)))
    parts.append(WHOLE + _table(WHOLE_COLUMNS, whole_picture_rows(trained, data, threads)))
    parts.append("\n## Person detector\n\n" + _table(DETECTOR_COLUMNS, detector_rows(trained, latency)))
    parts.append(PEERS)
    parts.append("\n## The papers' networks\n\n" + PAPERS + _table(PAPER_COLUMNS, paper_rows(cards)))
    path.write_text("".join(parts), encoding="utf-8")
    return path


def latencies(cards: list[ModelCard], threads: int, repeats: int) -> dict[tuple[str, str, str], float]:
    """Median milliseconds by model, runtime and precision; all are measured in turn, run after run."""
    calls = {
        (card.name, runtime, precision): (load(card, runtime, precision, threads, "CPU"), _picture(card))
        for card in cards
        for runtime, precisions in card.precisions.items()
        for precision in precisions
    }
    times: dict[tuple[str, str, str], list[float]] = {key: [] for key in calls}
    for turn in range(repeats + 5):
        for key, (model, picture) in calls.items():
            start = time.perf_counter()
            model(picture)
            if turn >= 5:  # the first turns warm up
                times[key].append((time.perf_counter() - start) * 1e3)
    return {key: statistics.median(measured) for key, measured in times.items()}


POSE_COLUMNS = ("model", "files", "PCK@0.2", "AP", "params", "GMACs", "size", "latency")
WHOLE_COLUMNS = ("model", "who finds people", "PCK@0.2", "AP")
WHOLE = """
## Whole pictures

Nobody gives boxes: people are found first, by our detector, or by the network itself. OpenVINO INT8.

"""
DETECTOR_COLUMNS = ("model", "files", "AP50", "precision", "recall", "GMACs", "size", "latency")
PAPER_COLUMNS = ("model", "input", "params", "GMACs", "COCO val AP, paper", "here")
PAPERS = """The papers train on COCO's 57,000 pictures; the weights here were trained on 18,500 others (bottom-up ones
on the 5,900 in which everybody is annotated), for hours on one or two CPU cores or minutes on a GPU. A paper's AP
therefore says what its network can reach, not what the packaged weights do. AP here is that of the files opened by
default. GMACs are 10⁹ everywhere on this page; LPN's and ELPN's papers count in 2³⁰.

"""


def pose_rows(cards: list[ModelCard], latency: dict[tuple[str, str, str], float]) -> Iterator[tuple[str, ...]]:
    for card, runtime, precision, figures, size in _measured(cards, "pose"):
        yield (
            card.name,
            f"{runtime} {precision}",
            _figure(figures, "PCK@0.2"),
            _figure(figures, "AP"),
            f"{card.parameters / 1e6:.2f} M",
            f"{card.macs / 1e9:.2f}",
            size,
            f"{latency[card.name, runtime, precision]:.1f} ms",
        )


def whole_picture_rows(cards: list[ModelCard], data: Path, threads: int) -> Iterator[tuple[str, ...]]:
    for card in cards:
        if card.kind == "pose":
            with PoseEstimator(card.folder, threads=threads) as estimator:
                figures = pose_figures(estimator, data, "detected")
            finds = DEFAULT_DETECTOR if card.approach == "top-down" else "the network"
            yield card.name, finds, _figure(figures, "PCK@0.2"), _figure(figures, "AP")


def detector_rows(cards: list[ModelCard], latency: dict[tuple[str, str, str], float]) -> Iterator[tuple[str, ...]]:
    for card, runtime, precision, figures, size in _measured(cards, "detector"):
        columns = (_figure(figures, name) for name in ("AP50", "precision", "recall"))
        milliseconds = f"{latency[card.name, runtime, precision]:.1f} ms"
        yield (card.name, f"{runtime} {precision}", *columns, f"{card.macs / 1e9:.2f}", size, milliseconds)


def paper_rows(cards: list[ModelCard]) -> Iterator[tuple[str, ...]]:
    for card in cards:
        if card.kind == "pose":
            width, height = card.input_size
            default = card.accuracy.get(f"openvino-{card.precisions['openvino'][0]}") if card.trained else None
            yield (
                card.name,
                f"{height}×{width}",
                f"{card.parameters / 1e6:.2f} M",
                f"{card.macs / 1e9:.2f}",
                f"{DESIGNS[card.name].paper_ap:.1f}",
                f"AP {100 * default['AP']:.1f} on our 82 people" if default else "not trained",
            )


def _measured(cards: list[ModelCard], kind: str) -> Iterator[tuple[ModelCard, str, str, dict[str, float], str]]:
    for card in cards:
        if card.kind == kind:
            for runtime, by_precision in card.files.items():
                for precision, files in by_precision.items():
                    figures = card.accuracy.get(f"{runtime}-{precision}", {})
                    yield card, runtime, precision, figures, f"{sum(file.bytes for file in files) / 1e6:.1f} MB"


def _figure(figures: dict[str, float], name: str) -> str:
    return f"{figures[name]:.3f}" if name in figures else "–"


def _picture(card: ModelCard) -> np.ndarray:
    width, height = card.input_size
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
