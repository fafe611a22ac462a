"""Model folders come out of commands, trained or not."""

from __future__ import annotations

import pytest

from converters.catalogue import DESIGNS
from converters.packaging import build
from converters.weights import PREBUILT
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.models import ModelCard


def test_every_network_has_a_folder():
    assert {path.parent.name for path in PREBUILT.glob("*/card.json")} == set(DESIGNS)


@pytest.mark.parametrize("name", DESIGNS)
def test_an_untrained_networks_files_are_those_that_build_writes(name, tmp_path):
    committed = ModelCard.read(PREBUILT / name)
    if committed.trained:
        assert (PREBUILT / name / "weights.safetensors").exists()
        return
    build(DESIGNS[name], data=None, folder=tmp_path)
    for file in ("card.json", "README.md"):
        assert (tmp_path / file).read_text(encoding="utf-8") == (PREBUILT / name / file).read_text(encoding="utf-8")


def test_building_a_trained_network_needs_data(tmp_path):
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(InvalidInputError, match="lpn-50 is trained.*--data"):
        build(DESIGNS["lpn-50"], data=None, folder=tmp_path)
