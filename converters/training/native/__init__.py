"""Layers in C++ that train mobile networks faster on a CPU than PyTorch's own.

They are compiled when a training run first needs them, for x86 processors: with AVX-512 for maps in bfloat16, or with
AVX2 for maps in float32. Anywhere else PyTorch's layers train the same network, more slowly.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import torch

from converters.training.precision import number_type, processor_features

log = logging.getLogger(__name__)
SOURCES = Path(__file__).parent
LIBRARIES = Path(__file__).parents[3] / "runs" / "native"
"""Where compiled layers are kept, one file for each state of the sources, PyTorch and processor."""
MAPS = number_type(torch.device("cpu"))
"""What the maps' numbers are."""
NEEDED = {torch.bfloat16: {"avx512_bf16", "avx512bw", "avx512dq", "avx512vl"}, torch.float32: {"avx2", "fma"}}
FLAGS = ("-O3", "-march=native", "-std=c++20", "-fopenmp", "-fPIC", "-shared")


@cache
def kernels() -> bool:
    """Compile and load ``torch.ops.mobilepose``; false, with the reason in the log, where that cannot be."""
    try:
        torch.ops.load_library(_compiled())  # type: ignore[no-untyped-call]
    except _NotHere as reason:
        log.warning("training goes on without the faster layers: %s", reason)
        return False
    return True


class _NotHere(Exception):
    """Why this machine cannot have the layers."""


def _compiled() -> Path:
    processor, needed = processor_features(), NEEDED[MAPS]
    if not processor >= needed:
        raise _NotHere(f"this processor has no {', '.join(sorted(needed - processor))}")
    flags = [*FLAGS, "-DBFLOAT16_MAPS"] if MAPS is torch.bfloat16 else [*FLAGS]
    key = hashlib.sha256(repr((torch.__version__, flags, sorted(processor))).encode())
    for source in sorted(SOURCES.glob("*.h")) + [SOURCES / "kernels.cpp"]:
        key.update(source.read_bytes())
    library = LIBRARIES / f"{key.hexdigest()[:16]}.so"
    if not library.exists():
        compiler = os.environ.get("CXX", "c++")
        if shutil.which(compiler) is None:
            raise _NotHere(f"there is no C++ compiler {compiler!r}; install g++, or name another in CXX")
        log.info("compiling the layers once, about half a minute")
        LIBRARIES.mkdir(parents=True, exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        _run([compiler, *flags, str(SOURCES / "kernels.cpp"), "-o", str(unfinished), *_torch_flags()])
        unfinished.replace(library)  # whole or not at all, whoever else compiles it now
    return library


def _torch_flags() -> list[str]:
    root = Path(torch.__file__).parent
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    return [abi, f"-isystem{root / 'include'}", f"-L{root / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _NotHere(f"{command[0]} does not compile them: {done.stderr[-2000:]}")
