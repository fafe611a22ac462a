"""Cold start and peak memory, measured where nothing is loaded yet: in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilepose_sdk.errors import ProfilingError

CALLS = 10
"""Calls after the first: memory has settled by then."""


@dataclass(frozen=True)
class FreshRun:
    """One new process.

    Attributes:
        cold_start: seconds from starting Python to the first result.
        peak_memory: most bytes it ever held in memory, Python and all libraries included.
    """

    cold_start: float
    peak_memory: int


def fresh_run(arguments: dict[str, Any]) -> FreshRun:
    """Start Python, make a ``PoseEstimator(**arguments)``, run it on the sample picture.

    Raises:
        ProfilingError: the process failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "mobilepose_sdk.profiling.process", json.dumps(arguments)]
    root = str(Path(__file__).resolve().parents[2])
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ProfilingError(f"the process that measures cold start ended with code {done.returncode}: {last}")
    told = json.loads(done.stdout.splitlines()[-1])
    return FreshRun(told["first_result"] - started, told["peak_memory"])


def peak_memory() -> int:
    """Most bytes that this process ever held in memory."""
    try:  # not getrusage on Linux: it also counts the parent's memory before the program was started
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return _peak_memory_on_windows()
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _peak_memory_on_windows() -> int:
    import ctypes

    counters = (ctypes.c_size_t * 10)()  # PROCESS_MEMORY_COUNTERS; two 32-bit fields, then PeakWorkingSetSize
    ctypes.cast(counters, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(counters)
    process = ctypes.c_void_p(-1)  # this one
    ctypes.WinDLL("psapi").GetProcessMemoryInfo(process, counters, ctypes.sizeof(counters))  # type: ignore[attr-defined]
    return int(counters[1])


def _main(arguments: dict[str, Any]) -> None:
    from mobilepose_sdk.estimator import PoseEstimator
    from mobilepose_sdk.samples import sample_picture

    estimator = PoseEstimator(**arguments)
    estimator(sample_picture())
    first = time.time()
    for _ in range(CALLS):
        estimator(sample_picture())
    sys.stdout.write(json.dumps({"first_result": first, "peak_memory": peak_memory()}) + "\n")


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
