"""Does a teacher help? One student from random weights, on labels alone and with MAPD (ELPN §4), for as long.

    python benchmarks/distillation.py --data DATA --teacher lpn-50 [--student mobileposenet-256x192] [--minutes 30]

Both runs have the same seed, samples, schedule and wall-clock budget, in which the teacher's work counts; figures are
those of dev.json at the end. Nothing in ``prebuilt/`` is touched.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from converters.catalogue import DESIGNS, Design
from converters.training.command import trained
from converters.training.loop import Training
from converters.training.recipes import METHODS
from converters.training.schedule import Budget


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json, dev.json and images/")
    parser.add_argument("--teacher", required=True, help="a trained network's name, or the path of movenet-thunder.bin")
    parser.add_argument("--student", default="mobileposenet-256x192", help="default: mobileposenet-256x192")
    parser.add_argument("--minutes", type=float, default=30, help="of each run (default: 30)")
    options = parser.parse_args()
    teacher = Path(options.teacher).stem
    print(f"{options.student}, random weights, {options.minutes:g} minutes each, teacher {teacher}\n")
    print("| trained with | samples | PCK@0.2 | AP |\n|---|---|---|---|")
    for name in (None, options.teacher):
        found = learn(DESIGNS[options.student], options.data, options.minutes, name)
        method = "labels alone" if name is None else f"MAPD, {teacher}"
        print(f"| {method} | {found['samples']:,} | {found['pck']:.3f} | {found['ap']:.3f} |", flush=True)


def learn(design: Design, data: Path, minutes: float, teacher: str | None) -> dict[str, float]:
    """The last line of a run's log."""
    task, recipe = design.task(data), design.recipe
    if teacher is not None:
        task, recipe = METHODS["mapd"](task, recipe, trained(teacher))
    torch.manual_seed(recipe.seed)
    with tempfile.TemporaryDirectory() as run:
        Training(design.network(), task, recipe, Budget(minutes=minutes), Path(run)).fit()
        last: dict[str, float] = json.loads((Path(run) / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return last


if __name__ == "__main__":
    main()
