"""``mobilepose profile``: what a model costs here, stage by stage."""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from mobilepose_sdk.cli.common import (
    EXIT_CODES,
    OK,
    Progress,
    at_least_one,
    check_writable,
    say,
    table,
    write_json,
    write_text,
)

NAME_WIDTH = 60
"""Characters of a layer's name that are printed."""


def add_to(commands: Any) -> None:
    profile = commands.add_parser(
        "profile",
        help="measure a model stage by stage",
        epilog=f"Options that take a list, as in --threads 1,2, profile every combination. {EXIT_CODES}",
    )
    profile.add_argument("models", nargs="*", metavar="MODEL", help="names or folders; the default pose model if none")
    profile.add_argument("--runtime", default="openvino", metavar="LIST", help="openvino, tflite (default: openvino)")
    profile.add_argument("--precision", default="", metavar="LIST", help="int8, fp16; the recommended one when omitted")
    profile.add_argument(
        "--threads", type=_threads, default=[0], metavar="LIST", help="numbers, or auto (default: auto)"
    )
    profile.add_argument(
        "--batch", type=_counts, default=[1], metavar="LIST", help="people in the picture, or pictures (default: 1)"
    )
    profile.add_argument("--detector", help="person detector: a name or a folder")
    profile.add_argument("--repeats", type=at_least_one, default=50, metavar="N", help="interleaved runs (default: 50)")
    profile.add_argument("--no-fresh", action="store_true", help="leave out cold start and peak memory")
    profile.add_argument("--compare", action="store_true", help="side by side, as ratios to the first")
    profile.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    profile.add_argument("--csv", type=Path, metavar="FILE", help="also write the stages as CSV")
    profile.add_argument("--plot", type=Path, metavar="FILE", help="also draw the stages, as latency.png (extra: plot)")
    profile.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from mobilepose_sdk.profiling import profile
    from mobilepose_sdk.profiling.report import as_csv, as_dict, comparison, import_figure, plot
    from mobilepose_sdk.topology import read_topology

    for path in filter(None, (options.json, options.csv, options.plot)):
        check_writable(path)
    if options.plot:
        import_figure()
    configurations, machine = _configurations(options), str(read_topology())
    with Progress("runs") as progress:
        profiles = profile(configurations, repeats=options.repeats, fresh=not options.no_fresh, progress=progress)
    print(f"{machine}; {options.repeats} interleaved runs")
    if options.compare:
        header, rows = comparison(profiles)
        print(table(header, rows))
    else:
        for one in profiles:
            _print(one)
    for one in profiles:
        for warning in one.warnings:
            say(f"warning: {one.configuration}: {warning}")
    if options.json:
        write_json(options.json, as_dict(profiles, machine))
    if options.csv:
        write_text(options.csv, as_csv(profiles))
    if options.plot:
        plot(profiles, options.plot, machine)
    return OK


def _configurations(options: argparse.Namespace) -> list[Any]:
    from mobilepose_sdk.models import DEFAULT_DETECTOR, DEFAULT_POSE_MODEL
    from mobilepose_sdk.profiling import Configuration

    names = options.models or [DEFAULT_POSE_MODEL]
    axes = product(names, options.runtime.split(","), options.precision.split(","), options.threads, options.batch)
    return [
        Configuration(model, runtime, precision or None, count, batch, options.detector or DEFAULT_DETECTOR)
        for model, runtime, precision, count, batch in axes
    ]


def _counts(text: str) -> list[int]:
    return [at_least_one(one) for one in text.split(",")]


def _threads(text: str) -> list[int]:
    return [0 if one == "auto" else at_least_one(one) for one in text.split(",")]


def _print(profile: Any) -> None:
    from mobilepose_sdk.profiling.report import stage_rows

    print(f"\n{profile.configuration} ({profile.settings})")
    print(table(("stage", "median ms", "p90", "p99", "FPS"), stage_rows(profile)))
    facts = [f"model size {profile.model_bytes / 1e6:.1f} MB"]
    if profile.fresh is not None:
        facts.append(f"cold start {profile.fresh.cold_start:.2f} s")
        facts.append(f"peak memory {profile.fresh.peak_memory / 1e6:.0f} MB")
    print(", ".join(facts))
    if profile.layers:
        rows = [(_end_of(layer.name), layer.kind, f"{layer.milliseconds:.3f}") for layer in profile.layers]
        print(table(("slowest layers", "run by", "ms"), rows))


def _end_of(name: str) -> str:
    """A layer's name, cut at the front: what tells layers apart is at the end."""
    return name if len(name) <= NAME_WIDTH else "…" + name[1 - NAME_WIDTH :]
