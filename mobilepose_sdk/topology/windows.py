"""Windows: ``GetLogicalProcessorInformationEx`` and the process's affinity mask."""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator
from typing import Any

from mobilepose_sdk.topology import Cache, CacheKind, Core, CoreKind, Topology

_CORE, _CACHE, _ALL = 0, 2, 0xFFFF
_GROUP = 64
"""Logical CPUs of a processor group."""
_CACHE_KINDS: dict[int, CacheKind] = {0: "unified", 1: "instruction", 2: "data"}


def read() -> Topology:
    """This machine's.

    Raises:
        OSError: Windows refuses to tell.
    """
    try:
        return parse(_records(), _affinity(), platform.processor())
    except struct.error as error:
        raise OSError(f"Windows describes its processors in a form that is not known here: {error}") from error


def parse(records: bytes, affinity: int | None, name: str) -> Topology:
    """The topology in the records of ``GetLogicalProcessorInformationEx(RelationAll)``.

    Args:
        records: ``SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX`` structures of a 64-bit system, one behind the other.
        affinity: the process's mask over processor group 0; None where it spans several groups.
        name: the processor's.
    """
    cores: list[tuple[int, tuple[int, ...]]] = []
    caches: list[Cache] = []
    for relation, body in _split(records):
        if relation == _CORE:
            _, efficiency_class, groups = struct.unpack_from("<BB20xH", body)
            masks = [struct.unpack_from("<QH", body, 24 + 16 * i) for i in range(groups)]
            cpus = _allowed([cpu for mask, group in masks for cpu in _bits(mask, group)], affinity)
            cores += [(efficiency_class, cpus)] if cpus else []
        elif relation == _CACHE:
            level, _, _, size, kind = struct.unpack_from("<BBHII", body)
            cpus = _allowed(list(_bits(*struct.unpack_from("<QH", body, 32))), affinity)
            if cpus and kind in _CACHE_KINDS:
                caches.append(Cache(level, _CACHE_KINDS[kind], size, cpus))
    fastest = max((efficiency_class for efficiency_class, _ in cores), default=0)
    kinds: dict[bool, CoreKind] = {True: "performance", False: "efficiency"}
    if not cores:
        raise ValueError("Windows named no core")
    return Topology(name, tuple(Core(cpus, kinds[speed == fastest]) for speed, cpus in cores), tuple(caches))


def _split(records: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 8 <= len(records):
        relation, size = struct.unpack_from("<II", records, position)
        if size < 8:
            raise ValueError("a record of no size")
        yield relation, records[position + 8 : position + size]
        position += size


def _bits(mask: int, group: int) -> Iterator[int]:
    return (group * _GROUP + bit for bit in range(_GROUP) if mask >> bit & 1)


def _allowed(cpus: list[int], affinity: int | None) -> tuple[int, ...]:
    return tuple(cpu for cpu in cpus if affinity is None or (cpu < _GROUP and affinity >> cpu & 1))


def _kernel() -> Any:
    return ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]


def _records() -> bytes:
    ask, size = _kernel().GetLogicalProcessorInformationEx, ctypes.c_ulong(0)
    ask(_ALL, None, ctypes.byref(size))  # fails, and says how much room it needs
    buffer = ctypes.create_string_buffer(size.value)
    if not ask(_ALL, buffer, ctypes.byref(size)):
        raise OSError("GetLogicalProcessorInformationEx failed")
    return buffer.raw[: size.value]


def _affinity() -> int | None:
    kernel, own, system = _kernel(), ctypes.c_size_t(0), ctypes.c_size_t(0)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    found = kernel.GetProcessAffinityMask(
        ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(own), ctypes.byref(system)
    )
    return own.value if found and own.value else None  # 0 where the process spans several groups
