r"""Does a teacher help? One student, on labels alone and with MAPD (ELPN §4), for as long.

    python benchmarks/distillation.py --data DATA --teacher lpn-50 [--student mobileposenet-256x192] [--minutes 30] \
        [--continue] [--shares ALPHA BETA] [--labels FILE] [--threads N] [--runs FOLDER]

Both runs have the same seed, samples, schedule and wall-clock budget, in which the teacher's work counts; figures are
those of dev.json at the end. Nothing in ``prebuilt/`` is touched.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from converters.catalogue import DESIGNS
from converters.training.command import Start
from converters.training.schedule import Budget


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json, dev.json and images/")
    parser.add_argument("--teacher", required=True, help="a trained network's name, or the path of movenet-thunder.bin")
    parser.add_argument("--student", default="mobileposenet-256x192", help="default: mobileposenet-256x192")
    parser.add_argument("--minutes", type=float, default=30, help="of each run (default: 30)")
    parser.add_argument("--continue", dest="go_on", action="store_true", help="start from the packaged weights")
    parser.add_argument("--shares", type=float, nargs=2, metavar=("ALPHA", "BETA"), help="default: the paper's")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="cleaned labels")
    parser.add_argument("--threads", type=int, help="CPU threads; all when omitted")
    parser.add_argument(
        "--runs", type=Path, help="keep both runs here, and resume them; a temporary folder when omitted"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.threads:
        torch.set_num_threads(options.threads)
    budget = Budget(minutes=options.minutes)
    alone = Start(DESIGNS[options.student], options.data, budget, options.go_on, labels=options.labels)
    shares = tuple(options.shares) if options.shares else None
    taught = replace(alone, method="mapd", teacher=options.teacher, shares=shares)
    teacher, weights = Path(options.teacher).stem, "packaged" if options.go_on else "random"
    print(f"{options.student}, {weights} weights, {options.minutes:g} minutes each, teacher {teacher}\n")
    print("| trained with | samples | PCK@0.2 | AP |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for start, method in ((alone, "labels alone"), (taught, f"MAPD, {teacher}")):
            run = (options.runs or Path(temporary)) / (start.method or "labels")
            found = learn(start, run)
            print(f"| {method} | {found['samples']:,} | {found['pck']:.3f} | {found['ap']:.3f} |", flush=True)


def learn(start: Start, run: Path) -> dict[str, float]:
    """The last line of a run's log."""
    start.training(run).fit()
    last: dict[str, float] = json.loads((run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return last


if __name__ == "__main__":
    main()
