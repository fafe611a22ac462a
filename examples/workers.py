"""Pictures shared among worker processes, each with an estimator of its own:

    python examples/workers.py PICTURES... [--workers 2] [--start spawn]

One process in throughput mode is usually as fast and takes less memory (`PoseEstimator(mode="throughput")`). Processes
are for what a program does beside the poses. Two things matter. An estimator is made *in* the worker: none survives a
fork, and none can be sent to a process. And the workers divide the cores: each would otherwise take them all.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.topology import read_topology

estimator: PoseEstimator | None = None


def open_estimator(threads: int) -> None:
    """Runs once in every worker."""
    global estimator
    estimator = PoseEstimator(threads=threads)


def people_in(path: str) -> int:
    """Runs in a worker, for one picture."""
    assert estimator is not None
    return len(estimator(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", nargs="+")
    parser.add_argument(
        "--workers", type=int, default=2, choices=range(1, 65), metavar="N", help="1 to 64 (default: 2)"
    )
    parser.add_argument("--start", choices=multiprocessing.get_all_start_methods(), help="the system's own if omitted")
    options = parser.parse_args()

    topology = read_topology()
    threads = max(1, topology.affordable(len(topology.cores)) // options.workers)
    with ProcessPoolExecutor(
        options.workers, multiprocessing.get_context(options.start), initializer=open_estimator, initargs=(threads,)
    ) as pool:
        for path, people in zip(options.pictures, pool.map(people_in, options.pictures)):
            print(f"{path}: {people}")


if __name__ == "__main__":
    main()
