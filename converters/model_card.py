"""A model's ``README.md``, written from its ``card.json``, so that the two cannot disagree."""

from __future__ import annotations

from typing import Any

from mobilepose_sdk.models import ModelCard


def markdown(card: ModelCard) -> str:
    """The model card as Markdown."""
    width, height = card.input_size
    training = card.training
    lines = [
        f"# {card.name}",
        "",
        f"{card.summary[0].upper()}{card.summary[1:]}.",
        "",
        f"* Network: {card.paper}",
        f"* Input: uint8, (N, {height}, {width}, 3), {card.color.upper()}; normalisation is inside the graph",
        f"* {card.parameters:,} parameters, {card.macs / 1e9:.2f} G multiply-accumulates an input",
    ]
    if not card.trained:
        lines += ["", "Not trained: there are no files to run. From a checkout:", "", "```sh", *_ways(card), "```"]
        return "\n".join(lines) + "\n"
    lines.append(f"* Licence of the weights: {card.licence}")
    if card.kind == "pose":
        boxes = "" if card.approach == "bottom-up" else f"given boxes are grown ×{card.padding}; "
        lines.append(f"* Keypoints: {card.skeleton}; {boxes}decoder: {_options(card.decoder)}")
    else:
        lines.append(f"* People scoring at least {card.min_score} are reported")
    if card.accuracy:
        lines += ["", "## Measured", "", _accuracy(card)]
    if "checkpoint" in training:
        lines += ["", "## Origin", "", f"Converted from `{training['checkpoint']}` (sha256 {training['sha256']})."]
        if "notes" in training:
            lines += ["", training["notes"]]
        if card.quantization:
            lines += ["", f"INT8: {_options(card.quantization)}."]
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "## Training",
        "",
        f"`{training['command']}` with seed {training['seed']} on {training['machine']}: "
        f"{training['samples']:,} samples in {training['minutes']:.0f} minutes, {_start(training)}."
        f"{training['notes']}",
        "",
        "| source | pictures | what | terms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {entry['pictures']:,} | {entry.get('what', '')} | {entry.get('terms', '')} |"
        for name, entry in training["data"].items()
    ]
    lines += [
        "",
        f"INT8: {_options(card.quantization)}.",
        "",
        "![Learning curve](curve.png)",
        "",
        "The last run (dev set, averaged weights):",
        "",
    ]
    lines += _curve(training["curve"])
    return "\n".join(lines) + "\n"


def _ways(card: ModelCard) -> list[str]:
    return [
        f"python -m converters train {card.name} --data DATA --minutes 240",
        f"python -m converters import {card.name} CHECKPOINT --out FOLDER  # its authors' weights, where they exist",
    ]


def _start(training: dict[str, Any]) -> str:
    """What a run went on from: earlier runs, the first one first, and what that started from."""
    before, runs = training["before"], list[str]()
    while before is not None and "checkpoint" not in before:
        runs.insert(0, f"{before['samples']:,}")
        before = before["before"]
    origin = "from random weights" if before is None else f"from the checkpoint {before['checkpoint']}"
    if not runs:
        return origin
    *most, last = runs
    if not most:
        return f"after an earlier run of {last} samples {origin}"
    return f"after earlier runs of {', '.join(most)} and {last} samples, the first {origin}"


def _accuracy(card: ModelCard) -> str:
    columns = list(next(iter(card.accuracy.values()), {}))
    rows = [f"| files | {' | '.join(columns)} | size |", f"|---|{'---|' * (len(columns) + 1)}"]
    for name, figures in card.accuracy.items():
        runtime, precision = name.split("-", 1)
        size = sum(file.bytes for file in card.files[runtime][precision]) / 1e6
        rows.append(f"| {name} | {' | '.join(f'{figures[column]:.3f}' for column in columns)} | {size:.1f} MB |")
    return "\n".join(rows)


def _curve(curve: list[dict[str, float]]) -> list[str]:
    columns = list(curve[0]) if curve else []
    rows = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return rows + [f"| {' | '.join(_cell(entry[column]) for column in columns)} |" for entry in curve]


def _cell(value: object) -> str:
    return "×".join(map(str, reversed(value))) if isinstance(value, list) else str(value)


def _options(options: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items())
