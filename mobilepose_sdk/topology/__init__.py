"""What the processor offers to this process: cores, their kinds and threads, caches, affinity mask and CPU quota."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Literal

CoreKind = Literal["performance", "efficiency"]
CacheKind = Literal["data", "instruction", "unified"]


@dataclass(frozen=True)
class Core:
    """A physical core: the logical CPUs on it that this process may use (two with SMT), and its kind."""

    cpus: tuple[int, ...]
    kind: CoreKind = "performance"


@dataclass(frozen=True)
class Cache:
    """One cache and the logical CPUs that share it; ``cpus`` is empty where the system does not tell."""

    level: int
    kind: CacheKind
    bytes: int
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Topology:
    """A processor as this process may use it.

    Attributes:
        name: what the processor calls itself.
        cores: physical cores that the affinity mask leaves to this process; at least one.
        caches: those of these cores.
        quota: CPUs' worth of time that a container grants (1.5 is a CPU and a half); None where nothing limits it.
    """

    name: str
    cores: tuple[Core, ...]
    caches: tuple[Cache, ...] = ()
    quota: float | None = None

    @property
    def logical(self) -> int:
        """Logical CPUs."""
        return sum(len(core.cpus) for core in self.cores)

    @property
    def performance_cores(self) -> int:
        """Physical cores of the fast kind; all of them where there is one kind only."""
        return sum(core.kind == "performance" for core in self.cores) or len(self.cores)

    @property
    def hybrid(self) -> bool:
        """Whether there are cores of both kinds."""
        return self.performance_cores < len(self.cores)

    @property
    def smt(self) -> bool:
        """Whether a core runs more than one thread."""
        return self.logical > len(self.cores)

    def affordable(self, cores: int) -> int:
        """At most ``cores``, and no more than the quota pays for, rounded down: at least 1.

        A thread beyond the quota would be stopped for a part of every period, and its neighbours wait for it.
        """
        return max(1, cores if self.quota is None else min(cores, int(self.quota)))

    def __str__(self) -> str:
        kinds = f"{self.performance_cores}P + {len(self.cores) - self.performance_cores}E " if self.hybrid else ""
        parts = [f"{kinds}{len(self.cores)} cores" if not self.hybrid else f"{kinds}cores", f"{self.logical} threads"]
        parts += [f"L{level} {_size(total)}" for level, total in self.cache_totals().items()]
        if self.quota is not None:
            parts.append(f"quota {self.quota:g} CPUs")
        return f"{self.name}: {', '.join(parts)}"

    def cache_totals(self) -> dict[int, int]:
        """Bytes of data and unified cache by level."""
        totals: dict[int, int] = {}
        for cache in self.caches:
            if cache.kind != "instruction":
                totals[cache.level] = totals.get(cache.level, 0) + cache.bytes
        return dict(sorted(totals.items()))


def read_topology() -> Topology:
    """This machine's. Never fails: what the system does not tell is guessed from the number of logical CPUs."""
    system = platform.system()
    try:
        if system == "Linux":
            from mobilepose_sdk.topology import linux

            return linux.read()
        if system == "Darwin":
            from mobilepose_sdk.topology import macos

            return macos.read()
        if system == "Windows":
            from mobilepose_sdk.topology import windows

            return windows.read()
    except (OSError, ValueError, LookupError):
        pass
    return guessed(os.cpu_count() or 1)


def guessed(logical: int, name: str = "") -> Topology:
    """Where only the number of logical CPUs is known, each is taken for a core."""
    return Topology(name or platform.processor() or platform.machine(), tuple(Core((cpu,)) for cpu in range(logical)))


def _size(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count / 2**10:g} KiB"
