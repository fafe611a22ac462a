"""Threads, estimators and processes share the cores, and nothing waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mobilepose_sdk
from mobilepose_sdk import core_budget
from mobilepose_sdk.core_budget import CoreBudget
from mobilepose_sdk.topology import read_topology

ROOT = Path(mobilepose_sdk.__file__).resolve().parent.parent
PICTURE = ROOT / "examples" / "pictures" / "astronaut.jpg"


class Meter:
    """Counts how many cores are in use."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0.0, 0.0

    def use(self, cores: float) -> None:
        with self.lock:
            self.now += cores
            self.most = max(self.most, self.now)
        time.sleep(0.002)
        with self.lock:
            self.now -= cores


@pytest.mark.parametrize(
    ("cores", "each", "most"), [(2, 2, 2), (4, 2, 4), (6, 4, 4), (2, 1, 2), (2, 0.5, 2), (2, 8, 2)]
)
def test_no_more_cores_are_in_use_than_there_are(cores, each, most):
    budget, meter = CoreBudget(cores), Meter()

    def work(_):
        with budget.taken(each):
            meter.use(min(each, cores))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert 0 < meter.most <= most


def test_who_needs_many_cores_is_not_overtaken_for_ever():
    budget, order = CoreBudget(2), []

    def work(name, cores):
        with budget.taken(cores):
            order.append(name)

    with budget.taken(1):
        large = threading.Thread(target=work, args=("large", 2))
        large.start()
        while not budget._waiting:
            time.sleep(0.001)
        small = threading.Thread(target=work, args=("small", 1))
        small.start()
        while len(budget._waiting) < 2:
            time.sleep(0.001)
        assert order == []  # one core is free, but the large one came first
    large.join()
    small.join()
    assert order == ["large", "small"]


def test_cores_come_back_after_an_error():
    budget = CoreBudget(2)
    with pytest.raises(ValueError, match="x"), budget.taken(2):
        raise ValueError("x")
    with budget.taken(2):
        pass


def test_the_process_shares_its_physical_cores():
    topology = read_topology()
    assert core_budget.shared_budget() is core_budget.shared_budget()
    assert core_budget.shared_budget().cores == topology.affordable(len(topology.cores))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_wait_for_its_parents_threads():
    program = """
import os
from mobilepose_sdk.core_budget import shared_budget
with shared_budget().taken(10**6):
    child = os.fork()
    if child == 0:
        with shared_budget().taken(10**6):
            os._exit(7)
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 7


def test_estimators_of_one_process_take_turns(monkeypatch):
    """Three estimators called from three threads: never more networks at once than the cores allow."""
    from mobilepose_sdk import PoseEstimator
    from mobilepose_sdk.sources import read_picture

    image, meter = read_picture(PICTURE), Meter()
    budget = CoreBudget(2)
    taken = budget.taken

    def watched(cores):
        class Block:
            def __enter__(self):
                self.inner = taken(cores)
                self.inner.__enter__()
                with meter.lock:
                    meter.now += cores
                    meter.most = max(meter.most, meter.now)

            def __exit__(self, *error):
                with meter.lock:
                    meter.now -= cores
                return self.inner.__exit__(*error)

        return Block()

    monkeypatch.setattr(budget, "taken", watched)
    monkeypatch.setattr("mobilepose_sdk.runtimes.openvino.shared_budget", lambda: budget)
    estimators = [PoseEstimator(threads=2) for _ in range(3)]
    expected = estimators[0](image)
    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(lambda estimator: estimator(image), estimators * 3):
            np.testing.assert_allclose(result.keypoints, expected.keypoints, atol=1e-3)
    assert meter.most == 2


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")),
        "spawn",
    ],
)
def test_worker_processes_with_an_estimator_each(start):
    command = [sys.executable, "examples/workers.py", str(PICTURE), str(PICTURE), "--workers", "2", "--start", start]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{PICTURE}: 1"] * 2
