"""TensorFlow.js graph models as tests write, and break, them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BREAKS = ("missing", "cut", "other")
"""What :func:`break_graph` can do."""


def write_graph(tensors: dict[str, np.ndarray], nodes: list[dict[str, Any]], path: Path) -> Path:
    """Write tensors (float16 in the file) and nodes to ``path``, a ``.bin``, and the ``.json`` beside it."""
    weights = [
        {"name": name, "shape": tensor.shape, "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, tensor in tensors.items()
    ]
    content = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": weights}]}
    path.with_suffix(".json").write_text(json.dumps(content))
    path.write_bytes(b"".join(tensor.astype("<f2").tobytes() for tensor in tensors.values()))
    return path


def break_graph(path: Path, how: str) -> None:
    """Take the ``.json`` away, cut the ``.bin``, or make the ``.json`` another model's."""
    graph = path.with_suffix(".json")
    if how == "missing":
        graph.unlink()
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if how == "other":
        graph.write_text('{"modelTopology": {"node": []}, "weightsManifest": []}')
