"""macOS: ``sysctl``. There is no affinity mask and no quota."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from mobilepose_sdk.topology import Cache, CacheKind, Core, CoreKind, Topology

NAMES = (
    "machdep.cpu.brand_string hw.physicalcpu hw.logicalcpu hw.nperflevels hw.l1dcachesize hw.l1icachesize "
    "hw.l2cachesize hw.l3cachesize hw.perflevel0.physicalcpu hw.perflevel0.logicalcpu hw.perflevel0.l1dcachesize "
    "hw.perflevel0.l1icachesize hw.perflevel0.l2cachesize hw.perflevel0.cpusperl2 hw.perflevel1.physicalcpu "
    "hw.perflevel1.logicalcpu hw.perflevel1.l1dcachesize hw.perflevel1.l1icachesize hw.perflevel1.l2cachesize "
    "hw.perflevel1.cpusperl2"
).split()


def ask_system() -> str:
    """What ``sysctl`` says of :data:`NAMES`; it leaves out those that this Mac does not know."""
    try:
        asked = ["/usr/sbin/sysctl", *NAMES]
        return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout
    except subprocess.SubprocessError as error:
        raise OSError(f"sysctl does not answer: {error}") from error


def read(ask: Callable[[], str] = ask_system) -> Topology:
    """The topology that ``sysctl`` describes.

    Raises:
        OSError, LookupError, ValueError: it does not say how many cores there are.
    """
    told = dict(line.split(": ", 1) for line in ask().splitlines() if ": " in line)
    if int(told.get("hw.nperflevels", 1)) > 1:  # Apple's chips: level 0 is the fast one
        levels: tuple[tuple[str, CoreKind], ...] = (
            ("hw.perflevel0.", "performance"),
            ("hw.perflevel1.", "efficiency"),
        )
    else:
        levels = (("hw.", "performance"),)
    cores: list[Core] = []
    caches: list[Cache] = []
    for prefix, kind in levels:
        physical, logical = int(told[f"{prefix}physicalcpu"]), int(told[f"{prefix}logicalcpu"])
        first = sum(len(core.cpus) for core in cores)
        each = max(1, logical // physical)
        cores += [Core(tuple(range(first + i * each, first + (i + 1) * each)), kind) for i in range(physical)]
        caches += _caches(told, prefix, physical)
    return Topology(told.get("machdep.cpu.brand_string", "Mac"), tuple(cores), tuple(caches))


def _caches(told: dict[str, str], prefix: str, physical: int) -> list[Cache]:
    kinds: tuple[tuple[int, CacheKind, str], ...] = (
        (1, "data", "l1dcachesize"),
        (1, "instruction", "l1icachesize"),
        (2, "unified", "l2cachesize"),
        (3, "unified", "l3cachesize"),
    )
    found = []
    for level, kind, name in kinds:
        size = int(told.get(prefix + name, 0))
        sharing = {1: 1, 2: int(told.get(f"{prefix}cpusperl2", 1)), 3: physical}[level]
        found += [Cache(level, kind, size)] * (max(1, physical // sharing) if size else 0)
    return found
