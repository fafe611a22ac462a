"""``mobilepose models``: what is packaged."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mobilepose_sdk.cli.common import OK, table


def add_to(commands: Any) -> None:
    models = commands.add_parser("models", help="list the packaged models")
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from mobilepose_sdk.models import list_models

    cards = list_models()
    if options.json:
        print(json.dumps([{**asdict(card), "folder": str(card.folder)} for card in cards], indent=2))
        return OK
    rows = []
    for card in cards:
        width, height = card.input_size
        facts = (
            card.name,
            card.approach if card.kind == "pose" else card.kind,
            f"{height}×{width}",
            f"{card.parameters / 1e6:.2f} M",
            f"{card.macs / 1e9:.2f} G",
        )
        if not card.trained:
            rows.append((*facts, "not trained", "", ""))
        for runtime, by_precision in card.files.items():
            for precision, files in by_precision.items():
                figures = card.accuracy.get(f"{runtime}-{precision}", {})
                rows.append(
                    (
                        *facts,
                        f"{runtime} {precision}",
                        f"{sum(file.bytes for file in files) / 1e6:.1f} MB",
                        "  ".join(f"{name} {value:.3f}" for name, value in figures.items()),
                    )
                )
    print(table(("model", "kind", "input", "params", "MACs", "files", "size", "measured"), rows))
    return OK
