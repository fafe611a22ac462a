"""Profiles as text, JSON, CSV and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilepose_sdk.errors import MissingDependencyError, OutputError
from mobilepose_sdk.profiling import TOTAL, Profile
from mobilepose_sdk.profiling.stages import STAGES


def stage_rows(profile: Profile) -> list[tuple[str, str, str, str, str]]:
    """Stage, median, p90, p99 (ms) and FPS of one profile, as text."""
    return [
        (name, f"{s.median:.2f}", f"{s.p90:.2f}", f"{s.p99:.2f}", f"{s.fps:.0f}") for name, s in profile.stages.items()
    ]


def comparison(profiles: Sequence[Profile]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: medians side by side, and how many times faster each is than the first."""
    header = ["median ms (times faster than the first)", *(str(p.configuration) for p in profiles)]
    rows = []
    for name in (*STAGES, TOTAL):
        reference = profiles[0].stages.get(name)
        cells = []
        for p in profiles:
            median = p.stages[name].median if name in p.stages else None
            ratio = f" ({reference.median / median:.2f}×)" if reference and median else ""
            cells.append("–" if median is None else f"{median:.2f}{ratio}")
        rows.append([name, *cells])
    first = profiles[0].fresh
    if first is not None and all(p.fresh is not None for p in profiles):
        runs = [p.fresh for p in profiles if p.fresh is not None]
        starts = [f"{r.cold_start:.2f} s ({first.cold_start / r.cold_start:.2f}×)" for r in runs]
        rows.append(["cold start", *starts])
        memory = [f"{r.peak_memory / 1e6:.0f} MB ({r.peak_memory / first.peak_memory:.2f} of it)" for r in runs]
        rows.append(["peak memory", *memory])
    sizes = [f"{p.model_bytes / 1e6:.1f} MB ({p.model_bytes / profiles[0].model_bytes:.2f} of it)" for p in profiles]
    return header, [*rows, ["model size", *sizes]]


def as_dict(profiles: Sequence[Profile], machine: str) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    entries = []
    for profile in profiles:
        entry = asdict(profile)
        for name, spread in profile.stages.items():
            entry["stages"][name]["fps"] = spread.fps
        entries.append(entry)
    return {"machine": machine, "profiles": entries}


def as_csv(profiles: Sequence[Profile]) -> str:
    """A row a stage: configuration, stage, median, p90 and p99 in milliseconds, FPS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    facts = ("model", "runtime", "precision", "threads", "batch")
    writer.writerow((*facts, "stage", "median_ms", "p90_ms", "p99_ms", "fps"))
    for profile in profiles:
        own = [getattr(profile.configuration, name) for name in facts]
        for name, s in profile.stages.items():
            writer.writerow((*own, name, *(f"{value:.4f}" for value in (s.median, s.p90, s.p99, s.fps))))
    return text.getvalue()


def import_figure() -> Any:
    """matplotlib's ``Figure``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("--plot needs matplotlib: pip install 'mobilepose-sdk[plot]'") from error
    return Figure


def plot(profiles: Sequence[Profile], path: Path, machine: str) -> None:
    """Draw medians as stacked bars, a bar a configuration, into a picture file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the file cannot be written, or matplotlib knows no such format.
    """
    make = import_figure()  # which opens no window, whatever the backend
    figure = make(figsize=(9, 1.6 + 0.6 * len(profiles)), layout="constrained")
    axes = figure.subplots()
    names = [str(profile.configuration) for profile in profiles]
    left = [0.0] * len(profiles)
    for stage in STAGES:
        widths = [p.stages[stage].median if stage in p.stages else 0.0 for p in profiles]
        axes.barh(names, widths, left=left, label=stage)
        left = [start + width for start, width in zip(left, widths)]
    axes.invert_yaxis()
    axes.set(xlabel="ms, medians", title=machine)
    axes.legend(ncols=len(STAGES), loc="upper center", bbox_to_anchor=(0.4, -0.3), frameon=False, fontsize=8)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write the plot {str(path)!r}: {error}") from error
