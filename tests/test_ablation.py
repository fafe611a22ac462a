"""What the ablation of a bottom-up model changes reaches its pipeline."""

import numpy as np
import pytest
from fakes import FakeRuntime, make_card

from converters import ablation
from converters.__main__ import main

EMPTY = np.zeros((51, 32, 32), np.float32)


class Seeing(FakeRuntime):
    def __call__(self, batch):
        super().__call__(batch)
        coarse, fine = (batch.shape[1] // stride for stride in (4, 2))
        return [np.zeros((1, 34, coarse, coarse), np.float32), np.zeros((1, 17, fine, fine), np.float32)]


@pytest.fixture
def runtime(monkeypatch):
    runtime = Seeing(EMPTY)
    monkeypatch.setattr(ablation, "load", lambda *_: runtime)
    card = make_card(
        approach="bottom-up", input_size=[128, 128], color="rgb", decoder={}, files={"openvino": {"int8": []}}
    )
    monkeypatch.setattr("mobilepose_sdk.models.find_model", lambda *_: card)
    return runtime


def test_a_bottom_up_model_is_compared_setting_by_setting(folder, runtime, capsys):
    main(["ablate", "efficienthrnet-h-4", "--data", str(folder)])
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row[:30].strip() for row in rows] == [*ablation.GROUPINGS, *ablation.LOOKS]
    assert all(float(row[30:]) == 0 for row in rows)  # it sees nobody
    sides = [batch.shape[1] for batch in runtime.seen]
    per_look = 3  # pictures of the part that AP is measured on
    expected = [128] * per_look * len(ablation.GROUPINGS) + [128, 128] * per_look
    assert sides == expected + [192] * per_look + [128, 192] * per_look


def test_settings_are_options_of_the_grouping(folder, runtime, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "mobilepose_sdk.pipelines.bottom_up.group",
        lambda heatmaps, tags, **options: seen.append(options) or (np.zeros((0, 17, 2)), np.zeros((0, 17))),
    )
    main(["ablate", "efficienthrnet-h-4", "--data", str(folder)])
    assert {"detection_threshold": 0.3} in seen
    assert {"refine": False} in seen
