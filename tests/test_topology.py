"""Reading the processor, on recorded machines: tests/topologies holds what Linux says of them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from mobilepose_sdk import topology
from mobilepose_sdk.topology import Cache, Core, Topology, guessed, linux, macos, read_topology, windows

RECORDED = Path(__file__).parent / "topologies"
MIB = 2**20


@pytest.fixture
def recorded(tmp_path):
    """Lays a recorded machine's files out below a folder, with changes; returns the folder."""

    def lay_out(name: str, changes: dict[str, str] | None = None) -> Path:
        root = tmp_path / name
        shutil.rmtree(root, ignore_errors=True)
        contents: dict[str, list[str]] = {}
        for row in (RECORDED / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            path, _, line = row.partition(":")
            contents.setdefault(path, []).append(line)
        contents |= {path: [text] for path, text in (changes or {}).items()}
        for path, lines in contents.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return root

    return lay_out


# name: physical cores, performance cores, logical CPUs, quota, data and unified caches by level
MACHINES = {
    "i7-8700k": (6, 6, 12, None, {1: 6 * 32, 2: 6 * 256, 3: 12288}),
    "i7-12700k": (12, 8, 20, None, {1: 8 * 48 + 4 * 32, 2: 8 * 1280 + 2048, 3: 25600}),
    "vm-2-cores": (2, 2, 2, None, {1: 64, 2: 2048, 3: 32768}),
    "raspberry-pi-4": (4, 4, 4, None, {1: 128, 2: 1024}),
    "container-1.5-cpus": (4, 4, 8, 1.5, {1: 128, 2: 4096, 3: 33792}),
    "container-1.5-cpus-cgroup-v1": (4, 4, 8, 1.5, {1: 128, 2: 4096, 3: 33792}),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_recorded_machine_is_read(recorded, name):
    physical, performance, logical, quota, caches = MACHINES[name]
    found = linux.read(recorded(name))
    assert (len(found.cores), found.performance_cores, found.logical, found.quota) == (
        physical,
        performance,
        logical,
        quota,
    )
    assert found.hybrid == (performance < physical)
    assert found.smt == (logical > physical)
    assert found.cache_totals() == {level: kib * 1024 for level, kib in caches.items()}


def test_siblings_share_a_core_and_kinds_are_told_apart(recorded):
    found = linux.read(recorded("i7-12700k"))
    assert found.cores[0] == Core((0, 1), "performance")
    assert found.cores[8:] == tuple(Core((cpu,), "efficiency") for cpu in (16, 17, 18, 19))
    assert Cache(2, "unified", 2048 * 1024, (16, 17, 18, 19)) in found.caches


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("i7-8700k", "Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz"),
        ("raspberry-pi-4", "Raspberry Pi 4 Model B Rev 1.4"),
        ("vm-2-cores", "AMD EPYC"),
    ],
)
def test_a_processor_says_its_name(recorded, name, called):
    assert linux.read(recorded(name)).name == called


def test_the_affinity_mask_hides_what_it_leaves_out(recorded):
    root = recorded("i7-12700k", {"/proc/self/status": "Cpus_allowed_list:\t0,2-3,16"})
    found = linux.read(root)
    assert [core.cpus for core in found.cores] == [(0,), (2, 3), (16,)]
    assert (found.performance_cores, found.hybrid) == (2, True)
    assert {cpu for cache in found.caches for cpu in cache.cpus} == {0, 2, 3, 16}


def test_only_efficiency_cores_left_are_no_hybrid(recorded):
    found = linux.read(recorded("i7-12700k", {"/proc/self/status": "Cpus_allowed_list:\t16-19"}))
    assert (found.performance_cores, found.hybrid) == (4, False)


def test_arm_cores_of_little_capacity_are_efficiency_cores(recorded):
    capacities = {f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity": "1024" if cpu > 1 else "446" for cpu in range(4)}
    found = linux.read(recorded("raspberry-pi-4", capacities))
    assert [core.kind for core in found.cores] == ["efficiency"] * 2 + ["performance"] * 2


def test_the_tightest_quota_above_the_process_counts(recorded):
    groups = {
        "/proc/self/cgroup": "0::/shop/till",
        "/sys/fs/cgroup/cpu.max": "max 100000",
        "/sys/fs/cgroup/shop/cpu.max": "250000 100000",
        "/sys/fs/cgroup/shop/till/cpu.max": "300000 100000",
    }
    assert linux.read(recorded("container-1.5-cpus", groups)).quota == 2.5


@pytest.mark.parametrize("limit", ["max 100000", "", "rubbish", "-1 100000", "100000 0"])
def test_no_readable_limit_is_no_quota(recorded, limit):
    assert linux.read(recorded("container-1.5-cpus", {"/sys/fs/cgroup/cpu.max": limit})).quota is None


def test_a_group_outside_the_container_is_not_looked_for(recorded):
    root = recorded("container-1.5-cpus", {"/proc/self/cgroup": "0::/../../other"})
    (root / "sys/fs/other").mkdir()
    (root / "sys/fs/other/cpu.max").write_text("10000 100000")
    assert linux.read(root).quota == 1.5


def test_without_sysfs_topology_every_cpu_is_a_core(tmp_path):
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0,2-3\n")
    assert [core.cpus for core in linux.read(tmp_path).cores] == [(0,), (2,), (3,)]


@pytest.mark.parametrize("problem", [OSError("no /sys"), ValueError("no CPU"), KeyError("hw.physicalcpu")])
def test_reading_never_fails(monkeypatch, problem):
    def fail():
        raise problem

    monkeypatch.setattr(topology.platform, "system", lambda: "Linux")
    monkeypatch.setattr(linux, "read", fail)
    assert read_topology() == guessed(topology.os.cpu_count() or 1)


def test_an_unknown_system_is_guessed(monkeypatch):
    monkeypatch.setattr(topology.platform, "system", lambda: "Plan 9")
    assert read_topology() == guessed(topology.os.cpu_count() or 1)


def test_this_machine_can_be_read():
    found = read_topology()
    assert found.logical >= len(found.cores) >= found.performance_cores >= 1
    assert found.name


@pytest.mark.parametrize(
    ("quota", "cores", "affordable"), [(None, 6, 6), (1.5, 6, 1), (0.5, 6, 1), (2.0, 6, 2), (8.0, 6, 6)]
)
def test_a_quota_is_rounded_down_to_whole_cores(quota, cores, affordable):
    assert Topology("x", tuple(Core((i,)) for i in range(6)), quota=quota).affordable(cores) == affordable


def test_a_topology_reads_well(recorded):
    assert str(linux.read(recorded("i7-12700k"))) == (
        "12th Gen Intel(R) Core(TM) i7-12700K: 8P + 4E cores, 20 threads, L1 512 KiB, L2 12 MiB, L3 25 MiB"
    )
    assert str(linux.read(recorded("container-1.5-cpus"))).endswith("L3 33 MiB, quota 1.5 CPUs")
    assert str(guessed(3, "toaster")) == "toaster: 3 cores, 3 threads"


# macOS

M1 = """machdep.cpu.brand_string: Apple M1
hw.physicalcpu: 8
hw.logicalcpu: 8
hw.nperflevels: 2
hw.l1dcachesize: 65536
hw.perflevel0.physicalcpu: 4
hw.perflevel0.logicalcpu: 4
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l1icachesize: 196608
hw.perflevel0.l2cachesize: 12582912
hw.perflevel0.cpusperl2: 4
hw.perflevel1.physicalcpu: 4
hw.perflevel1.logicalcpu: 4
hw.perflevel1.l1dcachesize: 65536
hw.perflevel1.l1icachesize: 131072
hw.perflevel1.l2cachesize: 4194304
hw.perflevel1.cpusperl2: 4
"""
INTEL_MAC = """machdep.cpu.brand_string: Intel(R) Core(TM) i7-8569U CPU @ 2.80GHz
hw.physicalcpu: 4
hw.logicalcpu: 8
hw.l1dcachesize: 32768
hw.l1icachesize: 32768
hw.l2cachesize: 262144
hw.l3cachesize: 8388608
"""


def test_an_apple_chip_has_two_kinds_of_cores():
    found = macos.read(lambda: M1)
    assert [core.kind for core in found.cores] == ["performance"] * 4 + ["efficiency"] * 4
    assert (found.logical, found.smt) == (8, False)
    assert found.cache_totals() == {1: 4 * 131072 + 4 * 65536, 2: 16 * MIB}


def test_an_intel_mac_has_one_kind_with_two_threads_each():
    found = macos.read(lambda: INTEL_MAC)
    assert [core.cpus for core in found.cores] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert found.cache_totals() == {1: 4 * 32768, 2: MIB, 3: 8 * MIB}


def test_a_sysctl_that_says_nothing_is_an_error():
    with pytest.raises(LookupError):
        macos.read(lambda: "")


# Windows: records as GetLogicalProcessorInformationEx lays them out


def core_record(mask: int, efficiency_class: int, group: int = 0) -> bytes:
    body = struct.pack("<BB20xH", 0, efficiency_class, 1) + struct.pack("<QH6x", mask, group)
    return struct.pack("<II", 0, 8 + len(body)) + body


def cache_record(level: int, size: int, kind: int, mask: int) -> bytes:
    body = struct.pack("<BBHII18xH", level, 8, 64, size, kind, 1) + struct.pack("<QH6x", mask, 0)
    return struct.pack("<II", 2, 8 + len(body)) + body


PACKAGE_RECORD = struct.pack("<II", 3, 48) + bytes(40)
HYBRID = b"".join(
    [
        PACKAGE_RECORD,
        core_record(0b000011, 1),
        core_record(0b001100, 1),
        core_record(0b010000, 0),
        core_record(0b100000, 0),
        cache_record(1, 48 * 1024, 2, 0b000011),
        cache_record(1, 32 * 1024, 1, 0b000011),
        cache_record(3, 12 * MIB, 0, 0b111111),
    ]
)


def test_windows_records_are_read():
    found = windows.parse(HYBRID, None, "i5")
    assert found.cores == (
        Core((0, 1), "performance"),
        Core((2, 3), "performance"),
        Core((4,), "efficiency"),
        Core((5,), "efficiency"),
    )
    assert found.caches == (
        Cache(1, "data", 48 * 1024, (0, 1)),
        Cache(1, "instruction", 32 * 1024, (0, 1)),
        Cache(3, "unified", 12 * MIB, (0, 1, 2, 3, 4, 5)),
    )


def test_windows_affinity_hides_cores():
    found = windows.parse(HYBRID, 0b010010, "i5")
    assert [core.cpus for core in found.cores] == [(1,), (4,)]
    assert found.caches[-1].cpus == (1, 4)


def test_windows_groups_number_on():
    assert windows.parse(core_record(0b1, 0) + core_record(0b1, 0, group=1), None, "").cores == (
        Core((0,)),
        Core((64,)),
    )


@pytest.mark.parametrize("records", [b"", PACKAGE_RECORD, struct.pack("<II", 0, 0)])
def test_windows_records_without_a_core_are_an_error(records):
    with pytest.raises(ValueError, match="no"):
        windows.parse(records, None, "")
