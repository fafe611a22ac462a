"""Which numbers a network is trained in."""

from pathlib import Path

import pytest
import torch

from converters.training import precision
from converters.training.precision import mixed_precision, number_type, processor_features

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, torch.bfloat16),
        ({"asimd", "bf16"}, torch.bfloat16),
        ({"avx2", "fma", "avx512f"}, torch.float32),
        (set(), torch.float32),
    ],
)
def test_a_processor_without_bfloat16_trains_in_float32(
    features: set[str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_features", lambda: features)
    assert number_type(CPU) == expected
    assert number_type(torch.device("cuda")) == torch.bfloat16
    with mixed_precision(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 fma\n", {"fpu", "avx2", "fma"}),
        ("processor\t: 0\nFeatures\t: asimd bf16\n", {"asimd", "bf16"}),
        ("something else\n", set()),
        (None, set()),
    ],
)
def test_features_are_read_from_linux(
    text: str | None, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(precision, "INFORMATION", file)
    assert processor_features.__wrapped__() == expected
