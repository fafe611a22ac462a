"""A model's learning curve as a picture, for its card."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

COLUMNS = {"pck": "PCK@0.2", "ap": "AP", "ap50": "AP50", "precision": "precision", "recall": "recall"}


def draw_curve(training: dict[str, Any], path: Path) -> None:
    """Draw the dev-set figures of a model's runs, the earlier ones first, over the samples seen.

    Args:
        training: the facts of :func:`converters.weights.training_facts`.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    entries = whole_curve(training)
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    samples = [entry["samples"] / 1000 for entry in entries]
    for key, label in COLUMNS.items():
        if key in entries[0]:
            axes.plot(samples, [entry[key] for entry in entries], marker=".", label=label)
    for before, after in pairwise(entries):
        if before["input"] != after["input"]:
            axes.axvline(before["samples"] / 1000, color="0.7", linestyle=":")
    axes.set_xlabel("thousand samples (dotted: another input size)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def whole_curve(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The log of a run after those of the runs it went on from, with samples counted from the very beginning."""
    earlier = whole_curve(training["before"]) if training.get("before") else []
    seen = earlier[-1]["samples"] if earlier else 0
    return earlier + [{**entry, "samples": entry["samples"] + seen} for entry in training.get("curve", [])]
