"""``mobilepose tune``: measure thread settings on this machine and keep the best."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mobilepose_sdk.cli.common import EXIT_CODES, OK, say, table


def add_to(commands: Any) -> None:
    tune = commands.add_parser("tune", help="find the fastest thread settings of this machine", epilog=EXIT_CODES)
    tune.add_argument(
        "models", nargs="*", metavar="MODEL", help="names or folders; the default pose model and detector when omitted"
    )
    tune.add_argument("--mode", choices=("latency", "throughput", "both"), default="both", help="(default: both)")
    tune.add_argument("--runtime", default="openvino", help="openvino or tflite (default: openvino)")
    tune.add_argument("--precision", help="int8 or fp16; the model's recommended one when omitted")
    tune.add_argument("--repeats", type=int, default=30, metavar="N", help="interleaved runs (default: 30)")
    tune.add_argument("--dry-run", action="store_true", help="measure, but keep nothing")
    tune.add_argument("--json", action="store_true", help="print JSON")
    tune.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from mobilepose_sdk.models import DEFAULT_DETECTOR, DEFAULT_POSE_MODEL, find_model
    from mobilepose_sdk.threads import MODES
    from mobilepose_sdk.tuning import tune

    cards = [find_model(name) for name in options.models or (DEFAULT_POSE_MODEL, DEFAULT_DETECTOR)]
    found = []
    for card in cards:
        for mode in MODES if options.mode == "both" else (options.mode,):
            tuning = tune(
                card,
                runtime=options.runtime,
                precision=options.precision,
                mode=mode,
                repeats=options.repeats,
                keep=not options.dry_run,
            )
            found.append({"model": card.name, "mode": mode, **asdict(tuning), "path": str(tuning.path or "")})
            if not options.json:
                _print(card.name, mode, tuning)
    if options.json:
        print(json.dumps(found, indent=2))
    elif not options.dry_run:
        say('kept: threads="auto" uses it from now on')
    return OK


def _print(name: str, mode: str, tuning: Any) -> None:
    print(f"{name}, {mode}; {tuning.topology}")
    default = tuning.measured[0].milliseconds
    rows = [
        (
            str(row.settings),
            f"{row.milliseconds:.2f}",
            f"{default / row.milliseconds:.2f}×",
            "best" if row is tuning.winner else "",
        )
        for row in tuning.measured
    ]
    print(table(("settings", "ms an input", "against the default", ""), rows), end="\n\n")
