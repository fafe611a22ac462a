"""From a topology to thread settings, measuring them, keeping the winner, and sharing the cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import write_model

import mobilepose_sdk
from mobilepose_sdk import core_budget, models, runtimes, tuning, tuning_store
from mobilepose_sdk.cli import main
from mobilepose_sdk.core_budget import CoreBudget
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, TuningStoreError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.threads import MOST_STREAMS, CPUSettings, Threads, candidates, settings_for
from mobilepose_sdk.topology import Core, Topology, guessed, linux, read_topology
from mobilepose_sdk.tuning import Measurement, best, measure, tune

ROOT = Path(mobilepose_sdk.__file__).resolve().parent.parent
PICTURE = ROOT / "examples" / "pictures" / "astronaut.jpg"


@pytest.fixture
def recorded(tmp_path):
    """The topology of a recorded machine."""

    def read(name: str) -> Topology:
        for row in (Path(__file__).parent / "topologies" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            path, _, line = row.partition(":")
            file = tmp_path / name / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        return linux.read(tmp_path / name)

    return read


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder in place of the user's."""
    folder = tmp_path / "cache" / "tuning"
    monkeypatch.setattr(tuning_store, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def card(tmp_path) -> ModelCard:
    return ModelCard.read(write_model(tmp_path / "model"))


# Settings of recorded machines

LATENCY = {
    "i7-8700k": CPUSettings(6),
    "i7-12700k": CPUSettings(8, core_type="performance"),
    "vm-2-cores": CPUSettings(2),
    "raspberry-pi-4": CPUSettings(4),
    "container-1.5-cpus": CPUSettings(1),
    "container-1.5-cpus-cgroup-v1": CPUSettings(1),
}
THROUGHPUT = {
    "i7-8700k": CPUSettings(6, 6),
    "i7-12700k": CPUSettings(12, 12),
    "vm-2-cores": CPUSettings(2, 2),
    "raspberry-pi-4": CPUSettings(4, 4),
    "container-1.5-cpus": CPUSettings(1, 1),
    "container-1.5-cpus-cgroup-v1": CPUSettings(1, 1),
}


@pytest.mark.parametrize("name", LATENCY)
def test_latency_is_one_stream_on_the_physical_performance_cores(recorded, name):
    assert settings_for(recorded(name), Threads()) == LATENCY[name]


@pytest.mark.parametrize("name", THROUGHPUT)
def test_throughput_is_a_stream_a_physical_core(recorded, name):
    assert settings_for(recorded(name), Threads(mode="throughput")) == THROUGHPUT[name]


def test_a_given_number_of_threads_is_kept(recorded):
    hybrid, small = recorded("i7-12700k"), recorded("container-1.5-cpus")
    assert settings_for(hybrid, Threads(4)) == CPUSettings(4, core_type="performance")
    assert settings_for(hybrid, Threads(10)) == CPUSettings(10)
    assert settings_for(hybrid, Threads(20)) == CPUSettings(20, hyper_threading=True)
    assert settings_for(small, Threads(3)) == CPUSettings(3)
    assert settings_for(small, Threads(3, "throughput")) == CPUSettings(3, 3)


def test_a_large_machine_does_not_get_a_stream_a_core():
    assert settings_for(guessed(96), Threads(mode="throughput")) == CPUSettings(96, MOST_STREAMS)


def test_settings_are_openvinos_properties():
    assert CPUSettings(8, core_type="performance").openvino() == {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 8,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "SCHEDULING_CORE_TYPE": "PCORE_ONLY",
        "ENABLE_HYPER_THREADING": False,
    }
    several = CPUSettings(12, 6, pinning=True, hyper_threading=True).openvino()
    assert several["PERFORMANCE_HINT"] == "THROUGHPUT"
    assert (several["NUM_STREAMS"], several["ENABLE_CPU_PINNING"], several["ENABLE_HYPER_THREADING"]) == (6, True, True)
    assert several["SCHEDULING_CORE_TYPE"] == "ANY_CORE"


def test_litert_is_given_the_threads_of_one_stream(recorded):
    topology = recorded("raspberry-pi-4")
    assert settings_for(topology, Threads()).threads_a_stream == 4
    assert settings_for(topology, Threads(mode="throughput")).threads_a_stream == 1


@pytest.mark.parametrize("name", LATENCY)
@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_candidates_begin_with_the_default_and_stay_within_the_machine(recorded, name, mode):
    topology = recorded(name)
    found = candidates(topology, mode)
    assert found[0] == settings_for(topology, Threads(mode=mode))
    assert len(set(found)) == len(found) > 1
    assert all(1 <= one.streams <= one.threads <= topology.logical for one in found)
    assert topology.quota is None or max(one.threads for one in found) == 2  # 1.5, rounded up
    assert any(one.pinning for one in found) == (topology.quota is None)


# Measuring


class Clock:
    """Time that only passes when somebody works."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(tuning, "time", Clock())


class Worker:
    """A runtime that takes eight seconds with one thread, and less with more."""

    def __init__(self, log: list, settings: CPUSettings) -> None:
        self.log, self.settings, self.closed = log, settings, False

    def __call__(self, batch):
        self.log.append(self.settings)
        tuning.time.now += 8 / self.settings.threads
        return [np.zeros((len(batch), 1))]

    def close(self):
        self.closed = True


BATCH = np.zeros((1, 4, 4, 3), np.uint8)


def test_candidates_are_measured_in_turn_and_closed():
    log: list[CPUSettings] = []
    opened: list[Worker] = []
    settings = [CPUSettings(1), CPUSettings(2), CPUSettings(4)]
    measured = measure(settings, lambda one: opened.append(Worker(log, one)) or opened[-1], BATCH, repeats=2)
    assert log == settings * (2 + tuning.WARM_UP)
    assert [row.settings for row in measured] == settings
    assert [row.milliseconds for row in measured] == [8000, 4000, 2000]
    assert all(one.closed for one in opened)


def test_every_stream_works_in_throughput_mode():
    log: list[CPUSettings] = []
    measure([CPUSettings(4, 4)], lambda one: Worker(log, one), BATCH, repeats=1)
    assert len(log) == 4 * (1 + tuning.WARM_UP)


def test_a_runtime_that_fails_closes_the_others():
    opened: list[Worker] = []

    def make(settings):
        if opened:
            raise MemoryError
        opened.append(Worker([], settings))
        return opened[0]

    with pytest.raises(MemoryError):
        measure([CPUSettings(1), CPUSettings(2)], make, BATCH, repeats=1)
    assert opened[0].closed


@pytest.mark.parametrize(("other", "winner"), [(9.6, 0), (9.4, 1), (10.0, 0), (12.0, 0)])
def test_only_a_clear_win_replaces_the_default(other, winner):
    rows = [Measurement(CPUSettings(2), 10.0), Measurement(CPUSettings(1), other)]
    assert best(rows) is rows[winner]


# Keeping the winner


@pytest.fixture
def fast_with_one(monkeypatch):
    """Models that run fastest with one thread, whatever the machine."""

    class Contrary(Worker):
        def __call__(self, batch):
            tuning.time.now += 1 if self.settings == CPUSettings(1) else 5
            return [np.zeros((len(batch), 1))]

    monkeypatch.setattr(tuning, "read_topology", lambda: guessed(4, "toaster"))
    monkeypatch.setattr(runtimes, "read_topology", lambda: guessed(4, "toaster"))
    monkeypatch.setattr(tuning, "open_files", lambda runtime, files, settings, *_: Contrary([], settings))


def test_auto_is_what_tuning_found(cache, card, fast_with_one):
    auto = lambda mode="latency": runtimes.cpu_settings(card, "openvino", "int8", Threads(mode=mode))  # noqa: E731
    assert auto() == CPUSettings(4)
    tuned = tune(card, repeats=2)
    assert tuned.winner.settings == CPUSettings(1)
    assert tuned.path is not None and tuned.path.parent == cache
    assert auto() == CPUSettings(1)
    assert auto("throughput") == CPUSettings(4, 4)  # another question
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads(3)) == CPUSettings(3)  # nobody asked


def test_a_dry_run_keeps_nothing(cache, card, fast_with_one):
    assert tune(card, repeats=1, keep=False).path is None
    assert not cache.exists()


def test_a_finding_is_for_one_cpu_model_runtime_and_mode(card):
    here, files = guessed(4, "toaster"), card.files["openvino"]["int8"]
    keys = [
        tuning_store.key_for(here, files, "openvino", "latency"),
        tuning_store.key_for(replace(here, quota=2.0), files, "openvino", "latency"),
        tuning_store.key_for(guessed(4, "kettle"), files, "openvino", "latency"),
        tuning_store.key_for(here, files[:1], "openvino", "latency"),
        tuning_store.key_for(here, files, "tflite", "latency"),
        tuning_store.key_for(here, files, "openvino", "throughput"),
    ]
    assert len({key.file_name for key in keys}) == len(keys)
    assert keys[0].runtime.split()[1][:2] == "20"  # a version, as 2026.4.1


def test_another_version_of_the_runtime_is_measured_anew(cache, card, monkeypatch):
    key = tuning_store.key_for(guessed(4), card.files["openvino"]["int8"], "openvino", "latency")
    tuning_store.write(key, CPUSettings(3), [])
    assert tuning_store.read(key) == CPUSettings(3)
    monkeypatch.setattr(tuning_store, "runtime_version", lambda runtime: "1.0")
    later = tuning_store.key_for(guessed(4), card.files["openvino"]["int8"], "openvino", "latency")
    assert tuning_store.read(later) is None


GOOD = {"threads": 2, "streams": 1, "pinning": False, "core_type": "any", "hyper_threading": False}
DAMAGED = {
    "empty": "",
    "half": '{"settings": {"threads"',
    "no object": "[1]",
    "binary": "\x00\x01",
    "no settings": {},
    "no thread": {**GOOD, "threads": 0},
    "text": {**GOOD, "threads": "2"},
    "more streams than threads": {**GOOD, "streams": 3},
    "a number as a switch": {**GOOD, "pinning": 1},
    "an unknown core": {**GOOD, "core_type": "fast"},
    "an unknown setting": {**GOOD, "colour": "red"},
    "a list": {**GOOD, "core_type": ["any"]},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_ignored_and_rewritten(cache, card, fast_with_one, content):
    path = tune(card, repeats=1).path
    assert path is not None
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text(encoding="utf-8")), "settings": content})
    path.write_text(content, encoding="utf-8")
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == CPUSettings(4)
    assert tune(card, repeats=2).path == path
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == CPUSettings(1)
    assert [file.name for file in cache.iterdir()] == [path.name]  # and nothing half-written beside it


def test_a_folder_that_cannot_be_written_to_is_a_typed_error(card, monkeypatch, tmp_path, fast_with_one):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tuning_store, "cache_folder", lambda: tmp_path / "file" / "tuning")
    with pytest.raises(TuningStoreError, match="cannot keep the tuned settings"):
        tune(card, repeats=1)


def test_without_platformdirs_tuning_says_what_to_install_and_auto_goes_on(card, monkeypatch):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[tune\]'"):
        tune(card)
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == settings_for(read_topology(), Threads())


def test_the_users_cache_folder_is_platformdirs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tuning_store.cache_folder()
    assert folder.parts[-2:] == ("mobilepose_sdk", "tuning") or sys.platform != "linux"


def test_at_least_one_run_is_needed(card):
    with pytest.raises(InvalidInputError, match="repeats must be at least 1, got 0"):
        tune(card, repeats=0)


# mobilepose tune


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    folder = tmp_path / "prebuilt"
    write_model(folder / "tiny", name="tiny")
    monkeypatch.setattr(models, "prebuilt_folder", lambda: folder)
    models._catalogue.cache_clear()
    yield
    models._catalogue.cache_clear()


def test_the_program_prints_every_candidate_and_marks_the_best(packaged, cache, fast_with_one, capsys):
    assert main(["tune", "tiny", "--mode", "latency", "--repeats", "2"]) == 0
    first, header, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert first == "tiny, latency; toaster: 4 cores, 4 threads"
    assert header.split() == ["settings", "ms", "an", "input", "against", "the", "default"]
    assert {row.split("  ")[0] for row in rows} == {str(one) for one in candidates(guessed(4), "latency")}
    assert [row.split("  ")[0] for row in rows if row.endswith("best")] == ["1 thread, 1 stream"]
    assert len(list(cache.iterdir())) == 1


def test_both_modes_are_tuned_unless_told_otherwise(packaged, cache, fast_with_one, capsys):
    assert main(["tune", "tiny", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["model"], one["mode"]) for one in found] == [("tiny", "latency"), ("tiny", "throughput")]
    assert len(list(cache.iterdir())) == 2


# Sharing the cores


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


def test_a_topology_with_hyper_threads_uses_them_only_when_asked():
    smt = Topology("x", tuple(Core((i, i + 2)) for i in range(2)))
    assert not settings_for(smt, Threads()).hyper_threading
    assert settings_for(smt, Threads(4)).hyper_threading
    assert settings_for(smt, Threads(4)).cores_an_inference == 2


def test_with_several_streams_as_many_inferences_again_stand_ready():
    smt = Topology("x", tuple(Core((i, i + 2)) for i in range(2)))
    assert settings_for(smt, Threads(2, "throughput")).cores_an_inference == 0.5
    assert settings_for(smt, Threads(4, "throughput")).cores_an_inference == 0.25
    assert settings_for(smt, Threads(1, "throughput")).cores_an_inference == 1  # one stream: nothing to hand over
