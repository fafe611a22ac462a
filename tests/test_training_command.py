"""What `train` and `average` do: from which weights, by which command, into which files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_network import TINY, TinyNetwork
from torch import nn

from converters.__main__ import main
from converters.catalogue import DESIGNS
from converters.training import command
from converters.training.loop import SETTLED, Stage
from converters.training.pose import PoseTask
from converters.training.schedule import Budget
from converters.weights import save_weights, training_facts
from mobilepose_sdk.errors import InvalidInputError, ModelFileError, SourceNotFoundError


def test_a_run_is_resumed_as_it_was_begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights it began with, although others are packaged by then."""
    monkeypatch.setattr(command, "PREBUILT", folder)
    run, first, begun = folder / "run", {"samples": 5, "before": None}, TinyNetwork()
    design = SimpleNamespace(name="tiny", network=TinyNetwork, task=PoseTask, recipe=TINY)
    save_weights(begun, folder / "tiny", first)
    start = command.Start(design, folder, Budget(samples=100), go_on=True, seed=3)
    start.training(run)
    save_weights(TinyNetwork(), folder / "tiny", {"samples": 7, "before": first})
    resumed = start.training(run)
    assert start.before(run) == first
    assert torch.allclose(resumed.network.layers[0].weight, begun.layers[0].weight, atol=1e-3)
    others = ({"seed": 4}, {"go_on": False}, {"method": "half-body"}, {"budget": Budget(samples=99)})
    for changes in (*others, {"design": SimpleNamespace(**{**vars(design), "name": "other"})}):
        with pytest.raises(InvalidInputError, match="begun with .*train tiny .*--samples 100 --continue --seed 3, not"):
            replace(start, **changes).training(run)


def test_a_start_that_fails_does_not_stand_in_the_way_of_the_next(folder: Path, tmp_path: Path) -> None:
    design = SimpleNamespace(name="tiny", network=TinyNetwork, task=PoseTask, recipe=TINY)
    start, run = command.Start(design, folder, Budget(samples=100)), tmp_path / "run"
    (tmp_path / "wrong.json").write_text('{"5": [1, 2]}')
    for changes, error in (
        ({"labels": tmp_path / "none.json"}, SourceNotFoundError),
        ({"labels": tmp_path / "wrong.json"}, InvalidInputError),
        ({"data": tmp_path / "nowhere"}, SourceNotFoundError),
    ):
        with pytest.raises(error):
            replace(start, **changes).training(run)
    start.training(run)


@pytest.mark.parametrize(
    ("facts", "seen"),
    [
        (None, 0),
        ({"samples": 5, "before": {"samples": 7, "before": None}}, 12),
        ({"checkpoint": "lpn.pth", "sha256": "0"}, SETTLED),
        ({"samples": 5, "before": {"checkpoint": "lpn.pth"}}, SETTLED + 5),
    ],
)
def test_how_much_a_network_has_seen(facts: dict | None, seen: int) -> None:
    assert command.samples_seen(facts) == seen


@pytest.mark.parametrize(
    "wrong",
    [["--minutes", "0"], ["--samples", "-1"], ["--minutes", "nan"], ["--threads", "-1"], ["--seed", "-1"]],
    ids=" ".join,
)
def test_numbers_that_no_run_can_have_are_wrong_usage(folder: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "lpn-50", "--data", str(folder), *wrong])
    assert stopped.value.code == 2


def test_there_is_nothing_to_continue_from(folder: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "lpn-101", "--data", str(folder), "--samples", "1", "--continue", "--run", str(folder / "run")])
    assert stopped.value.code == 3


def test_facts_hold_the_command_that_trains_alike(folder: Path) -> None:
    learnt = {"method": "mapd", "teacher": "x/movenet-thunder.bin", "shares": (0.3, 0.25), "labels": folder / "l.json"}
    start = command.Start(DESIGNS["lpn-50"], folder, Budget(minutes=3), go_on=True, seed=4, **learnt)
    (folder / "log.jsonl").write_text(json.dumps({"samples": 64, "minutes": 2.4}) + "\n")
    facts = training_facts(start.design, folder, folder, start.command, start.seed, {"samples": 7})
    assert facts["command"] == (
        "python -m converters train lpn-50 --data DATA --minutes 3 --continue --recipe mapd "
        "--teacher movenet-thunder.bin --shares 0.3 0.25 --labels l.json --seed 4"
    )
    assert (facts["samples"], facts["before"]) == (64, {"samples": 7})
    assert facts["data"]["lsp"]["pictures"] == 3
    again = replace(start, go_on=False, method=None, teacher=None, shares=None, labels=None)
    assert replace(again, budget=Budget(samples=96)).command.endswith("--data DATA --samples 96 --seed 4")


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two finished runs of one layer, whose task likes its weight to be near 3, the weight of neither."""

    class Near:
        judged_by = ("nearness",)

        def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
            return {"nearness": -abs(float(next(network.parameters()).detach()) - 3)}

    layer = SimpleNamespace(
        name="layer", network=lambda: nn.Conv2d(1, 1, 1, bias=False), task=lambda data: Near(), recipe=TINY
    )
    monkeypatch.setitem(DESIGNS, "layer", layer)
    monkeypatch.setattr(command, "PREBUILT", tmp_path / "prebuilt")
    runs = []
    for weight in (1.0, 4.0):
        network = layer.network()
        nn.init.constant_(network.weight, weight)
        facts = {"command": f"train {weight}", "samples": 1000, "notes": " Notes.", "before": {"samples": 5}}
        save_weights(network, tmp_path / f"run-{weight}", facts)
        runs.append(tmp_path / f"run-{weight}")
    return runs


def test_an_average_better_than_its_runs_is_packed(finished: list[Path], tmp_path: Path) -> None:
    said = command.average(DESIGNS["layer"], tmp_path, finished)
    assert "average: nearness -0.5000" in said
    packed = tmp_path / "prebuilt" / "layer"
    assert float(load_file(packed / "weights.safetensors")["weight"]) == 2.5
    facts = json.loads((packed / "training.json").read_text())
    assert facts["command"] == "train 1.0"
    assert facts["notes"].startswith(" Notes. ") and facts["notes"].endswith("of: `train 4.0`, 1,000 samples.")


def test_an_average_that_is_no_better_is_not_packed(finished: list[Path], tmp_path: Path) -> None:
    said = command.average(DESIGNS["layer"], tmp_path, [*finished, finished[0], finished[0]])
    assert said.endswith("nothing was written")
    assert not (tmp_path / "prebuilt").exists()


@pytest.mark.parametrize("damage", ["truncated", "another network's", "gone"])
def test_weights_that_cannot_be_loaded_are_named(finished: list[Path], tmp_path: Path, damage: str) -> None:
    path = finished[1] / "weights.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        save_weights(nn.Linear(2, 2), finished[1], json.loads((finished[1] / "training.json").read_text()))
    with pytest.raises(ModelFileError, match="weights.safetensors does not hold weights of layer"):
        command.average(DESIGNS["layer"], tmp_path, finished)


def test_an_average_is_of_finished_runs_from_one_start(finished: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="two runs or more"):
        command.average(DESIGNS["layer"], tmp_path, finished[:1])
    with pytest.raises(InvalidInputError, match="no folder of a run that has ended"):
        command.average(DESIGNS["layer"], tmp_path, [finished[0], tmp_path])
    for before in (None, {"samples": 6}):
        facts = json.loads((finished[1] / "training.json").read_text())
        (finished[1] / "training.json").write_text(json.dumps({**facts, "before": before}))
        with pytest.raises(InvalidInputError, match="same trained weights"):
            command.average(DESIGNS["layer"], tmp_path, finished)
