"""Layers in C++ that train mobile networks faster on a CPU than PyTorch's own.

They are compiled when a training run first needs them, for x86 processors with AVX-512 in bfloat16; anywhere else
PyTorch's layers train the same network, more slowly.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from functools import cache
from pathlib import Path

import torch

log = logging.getLogger(__name__)
SOURCE = Path(__file__).with_name("kernels.cpp")
NEEDED = ("avx512_bf16", "avx512bw", "avx512dq", "avx512vl")


@cache
def kernels() -> bool:
    """Compile and load ``torch.ops.mobilepose``; false, with the reason in the log, where that cannot be."""
    reason = _missing()
    if reason is None:
        try:
            _load()
        except (OSError, RuntimeError) as error:
            reason = f"they do not compile: {error}"
    if reason is not None:
        log.warning("training goes on without the faster layers: %s", reason)
    return reason is None


def _missing() -> str | None:
    """What this machine lacks, or None."""
    information = Path("/proc/cpuinfo")
    flags = set(information.read_text(encoding="utf-8").split()) if information.exists() else set()
    lacking = [flag for flag in NEEDED if flag not in flags]
    if lacking:
        return f"this processor has no {', '.join(lacking)}"
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        return "there is no C++ compiler; install g++, or name one in CXX"
    return None


def _load() -> None:
    from torch.utils.cpp_extension import load

    # ninja comes as a package, whose program stands beside Python's and need not be on the path.
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    try:
        flags = ["-O3", "-march=native"]
        load("mobilepose_kernels", [str(SOURCE)], extra_cflags=flags, is_python_module=False)
    finally:
        os.environ["PATH"] = path
    assert torch.ops.mobilepose.norm_forward is not None
