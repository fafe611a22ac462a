"""The numbers that a network is trained in: bfloat16 where the machine multiplies it, float32 elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

INFORMATION = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls instructions for bfloat16: x86's vectors and tiles, and ARM's."""


@cache
def processor_features() -> frozenset[str]:
    """What the processor can do, as Linux names it; nothing elsewhere."""
    if not INFORMATION.exists():
        return frozenset()
    lines = INFORMATION.read_text(encoding="utf-8").splitlines()
    words = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(words.partition(":")[2].split())


def number_type(device: torch.device) -> torch.dtype:
    """bfloat16 or float32: a processor without instructions for bfloat16 takes many times as long with it."""
    return torch.bfloat16 if device.type != "cpu" or processor_features() & BFLOAT16 else torch.float32


def mixed_precision(device: torch.device) -> torch.autocast:
    """Within it, convolutions and what follows them are computed in :func:`number_type`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=number_type(device) == torch.bfloat16)
