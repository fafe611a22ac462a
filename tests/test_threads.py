"""From a topology to thread settings, those that are tried, and what they mean to the runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilepose_sdk.threads import MOST_STREAMS, CPUSettings, Threads, candidates, settings_for
from mobilepose_sdk.topology import Core, Topology, guessed, linux


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
