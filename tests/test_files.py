"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilepose_sdk.files import write_whole


@pytest.mark.parametrize("problem", [OSError("the disk is full"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_write_that_ends_early_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, problem):
    path = tmp_path / "results.json"
    write_whole(path, b"old")
    half = Path.write_bytes

    def write_half(self, content):
        half(self, content[:1])
        raise problem

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(type(problem)):
        write_whole(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
    assert path.read_bytes() == b"old"
