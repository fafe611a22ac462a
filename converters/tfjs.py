"""Reading TensorFlow.js graph models, in which the public weights used here are found; nothing of them is run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = {"float32": "<f4", "int32": "<i4", "float16": "<f2"}


def read_graph(path: Path) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """The nodes of a graph model, and its tensors by name.

    Args:
        path: the model's ``.bin``; its ``.json`` must lie beside it.
    """
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return content["modelTopology"]["node"], _tensors(content["weightsManifest"], path.with_suffix(".bin").read_bytes())


def _tensors(manifest: list[dict[str, Any]], data: bytes) -> dict[str, NDArray[Any]]:
    """Tensors by name; they lie one behind the other in ``data``."""
    tensors, offset = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        kind = np.dtype(SIZES[entry.get("quantization", entry)["dtype"]])
        count = math.prod(entry["shape"])
        tensors[entry["name"]] = np.frombuffer(data, kind, count, offset).reshape(entry["shape"])
        offset += count * kind.itemsize
    return tensors
