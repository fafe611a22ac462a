"""Linux: sysfs, procfs and cgroups."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from mobilepose_sdk.topology import Cache, CacheKind, Core, CoreKind, Topology

LITTLE = 0.75
"""Below this share of the largest ``cpu_capacity`` an Arm core is an efficiency core."""
_CACHE_KINDS: dict[str, CacheKind] = {"Data": "data", "Instruction": "instruction", "Unified": "unified"}


def read(root: Path = Path("/")) -> Topology:
    """The topology that the files under ``root`` describe.

    Raises:
        OSError, ValueError: the kernel does not say which CPUs there are.
    """
    cpus = _allowed(root)
    if not cpus:
        raise ValueError("no CPU is online")
    kinds = _kinds(root, cpus)
    siblings = {cpu: tuple(c for c in _siblings(root, cpu) if c in kinds) for cpu in cpus}
    cores = tuple(Core(group, kinds[group[0]]) for group in dict.fromkeys(siblings.values()))
    return Topology(_name(root), cores, tuple(_caches(root, cpus)), _quota(root))


def parse_cpu_list(text: str) -> list[int]:
    """``"0-2,5"`` is 0, 1, 2 and 5."""
    found: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return found


def _text(path: Path) -> str:
    """A file's content, empty where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return ""


def _allowed(root: Path) -> list[int]:
    """Logical CPUs that are online and in this process's affinity mask."""
    online = parse_cpu_list((root / "sys/devices/system/cpu/online").read_text(encoding="ascii"))
    mask = re.search(r"^Cpus_allowed_list:\s*(\S+)", _text(root / "proc/self/status"), re.MULTILINE)
    allowed = set(parse_cpu_list(mask[1])) if mask else set(online)
    return [cpu for cpu in online if cpu in allowed]


def _siblings(root: Path, cpu: int) -> list[int]:
    """Logical CPUs on the core of ``cpu``."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    listed = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")  # its name before 5.3
    return parse_cpu_list(listed) or [cpu]


def _kinds(root: Path, cpus: list[int]) -> dict[int, CoreKind]:
    """The kind of each CPU's core: Intel's hybrids list theirs, Arm's cores have a capacity."""
    atoms = parse_cpu_list(_text(root / "sys/devices/cpu_atom/cpus"))
    if atoms and parse_cpu_list(_text(root / "sys/devices/cpu_core/cpus")):
        return {cpu: "efficiency" if cpu in atoms else "performance" for cpu in cpus}
    capacities = [float(_text(root / f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity") or "nan") for cpu in cpus]
    limit = LITTLE * max(capacities, default=0)
    return {cpu: "efficiency" if capacity < limit else "performance" for cpu, capacity in zip(cpus, capacities)}


def _caches(root: Path, cpus: list[int]) -> Iterable[Cache]:
    seen = set()
    for cpu in cpus:
        for index in sorted((root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*")):
            kind, size = _CACHE_KINDS.get(_text(index / "type")), re.match(r"(\d+)([KM])", _text(index / "size"))
            shared = tuple(c for c in parse_cpu_list(_text(index / "shared_cpu_list")) if c in cpus)
            level = int(_text(index / "level") or 0)
            if kind and size and (level, kind, shared) not in seen:
                seen.add((level, kind, shared))
                yield Cache(level, kind, int(size[1]) * {"K": 2**10, "M": 2**20}[size[2]], shared)


def _name(root: Path) -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return model[1].strip() if model else _text(root / "proc/device-tree/model") or platform.machine()


def _quota(root: Path) -> float | None:
    """The tightest limit among this process's cgroup and those above it, in CPUs."""
    limits: list[float] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if not controllers:
            limits += _limits(root / "sys/fs/cgroup", path, _quota_v2)
        elif "cpu" in names:
            mounts = (root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu")
            limits += _limits(next((m for m in mounts if m.is_dir()), mounts[-1]), path, _quota_v1)
    return min(limits, default=None)


def _limits(mount: Path, path: str, quota: Callable[[Path], float | None]) -> list[float]:
    # A container may see its own group as the mount's root, under a path that does not exist there.
    group = PurePosixPath(path.lstrip("/"))
    folders = [mount / folder for folder in (group, *group.parents) if ".." not in folder.parts]
    return [limit for folder in folders if (limit := quota(folder)) is not None]


def _quota_v2(folder: Path) -> float | None:
    return _ratio(*(_text(folder / "cpu.max").split() or ["max", ""])[:2])


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str = "100000") -> float | None:
    """None where there is no limit: ``max`` in version 2 of cgroups, -1 in version 1."""
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)
