"""Training does what the equations say, and a run goes on where it stopped."""

from __future__ import annotations

import json
import math
import multiprocessing
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from tiny_network import TINY, TinyNetwork
from torch import nn

from converters.catalogue import DESIGNS
from converters.training import command, loop, pictures
from converters.training.command import samples_seen
from converters.training.loop import CALM_FROM, SETTLED, Stage, Training
from converters.training.losses import HeatmapLoss, gaussian_targets
from converters.training.people import PoseSamples
from converters.training.pose import PoseTask, recipe, target_sigma
from converters.training.schedule import AveragedWeights, Budget, Cosine
from mobilepose_sdk.errors import InvalidInputError


def test_gaussian_target_peaks_at_the_keypoint_between_pixels() -> None:
    target = gaussian_targets(torch.tensor([[[10.5, 7.0]]]), (48, 64), sigma=2.0)[0, 0]
    assert target.shape == (64, 48)
    assert target[7, 10] == pytest.approx(math.exp(-0.5 * (0.5 / 2) ** 2))
    assert target[7, 10] == target[7, 11] == target.max()


@pytest.mark.parametrize(("height", "sigma"), [(64, 2.0), (96, 3.0), (32, 1.5)])
def test_target_width_grows_with_the_heatmap(height: int, sigma: float) -> None:
    assert target_sigma(height) == sigma


def test_without_cross_entropy_the_loss_is_the_papers_squared_error() -> None:
    torch.manual_seed(0)
    heatmaps, targets = torch.rand(2, 3, 8, 6), torch.rand(2, 3, 8, 6)
    weights = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.0, 1.0]])
    error = ((heatmaps - targets) ** 2).sum(dim=(2, 3))
    expected = (error * weights).sum() / weights.sum()
    assert HeatmapLoss(cross_entropy=0)(heatmaps, targets, weights) == pytest.approx(float(expected))


def test_keypoints_without_trust_do_not_count() -> None:
    heatmaps, targets = torch.rand(1, 2, 8, 6), torch.rand(1, 2, 8, 6)
    weights = torch.tensor([[1.0, 0.0]])
    changed = heatmaps.clone()
    changed[0, 1] += 5
    assert HeatmapLoss()(heatmaps, targets, weights) == HeatmapLoss()(changed, targets, weights)


def test_loss_is_finite_where_nothing_is_labelled() -> None:
    assert HeatmapLoss()(torch.rand(1, 2, 8, 6), torch.zeros(1, 2, 8, 6), torch.zeros(1, 2)) == 0


def test_cosine_rate_warms_up_peaks_and_falls() -> None:
    rates = [Cosine()(spent) for spent in (0.0, 0.01, 0.02, 0.5, 1.0)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, rates[3], 0.01])
    assert rates[2] > rates[3] > rates[4]


def test_cosine_rate_rises_once_more_where_asked() -> None:
    once, twice = Cosine(), Cosine(rise=(0.75, 0.35))
    assert [twice(spent) for spent in (0.01, 0.5, 0.74)] == [once(spent) for spent in (0.01, 0.5, 0.74)]
    assert twice(0.75) == pytest.approx(0.35)
    assert twice(0.75) > twice(0.9) > twice(1.0) == pytest.approx(0.01)


def test_budget_is_spent_by_whichever_limit_comes_first() -> None:
    assert Budget(samples=100, minutes=10).spent(samples=50, minutes=8) == 0.8
    assert Budget(samples=100).spent(samples=25, minutes=1e6) == 0.25
    assert Budget(samples=100).spent(samples=500, minutes=0) == 1.0


def test_averaged_weights_follow_the_network() -> None:
    network = nn.Linear(2, 2)
    average = AveragedWeights(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for _ in range(60):
        average.update()
    assert torch.allclose(average.network.weight, network.weight, atol=1e-4)


def test_restarted_average_is_the_network_and_young_again() -> None:
    network = nn.Linear(2, 2)
    average = AveragedWeights(network)
    for _ in range(2000):
        average.update()
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.restart()
    assert torch.equal(average.network.weight, network.weight)
    with torch.no_grad():
        network.weight.fill_(2.0)
    average.update()
    assert float(average.network.weight.mean()) > 1.5


def test_a_settled_network_sees_full_size_alone_at_half_the_rate_and_calm_pictures_at_the_end() -> None:
    full = TINY.stages[1]
    stages = replace(full, until=CALM_FROM), Stage(full.input_size, 1.0, calm=True)  # nothing frozen in the last
    assert TINY.for_trained(SETTLED) == replace(TINY, stages=stages, peak_rate=TINY.peak_rate / 2)
    one_size = replace(TINY, stages=TINY.stages[1:])
    assert one_size.for_trained(SETTLED) == one_size
    schedule = recipe((192, 256)).for_trained(SETTLED).schedule
    rates = [schedule(spent / 100) for spent in range(2, 101)]
    assert rates == sorted(rates, reverse=True)  # the usual one rises again at the change to full size


def test_a_young_network_is_spared_the_smallest_pictures_alone() -> None:
    usual = recipe((192, 256))
    young = usual.for_trained(SETTLED - 1)
    assert [stage.input_size for stage in young.stages] == [stage.input_size for stage in usual.stages[1:]]
    assert young.stages[-1].until == 1 and young.peak_rate == usual.peak_rate
    change = young.stages[0].until
    assert change == pytest.approx((0.75 - 0.35) / (1 - 0.35))
    assert young.schedule(change) == pytest.approx(0.35) and young.schedule(change - 1e-6) < 0.35  # rises there


def test_augmentation_grows_with_what_a_network_has_seen() -> None:
    task = PoseTask(Path("data"))
    facts = {"samples": 600_000, "before": {"samples": 400_000, "before": None}}
    assert samples_seen(facts) == 1_000_000
    assert task.for_trained(samples_seen(facts["before"])) == task
    assert task.for_trained(samples_seen(facts)).augmentation.scale > task.augmentation.scale


def test_calm_samples_are_changed_less_than_any_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "CACHE", folder / "cache")
    task, stage = PoseTask(folder), TINY.stages[1]
    calm = asdict(task.samples(replace(stage, calm=True), 0).augmentation)
    usual = asdict(task.samples(stage, 0).augmentation)
    assert calm.keys() == usual.keys() and calm != usual
    assert all(calm[name] <= usual[name] for name in calm)


@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet-256x192", "elpn-v1"])
def test_frozen_layers_are_the_first_of_the_network(name: str) -> None:
    frozen = DESIGNS[name].recipe.stages[-1].frozen
    parameters = [parameter for parameter, _ in DESIGNS[name].network().named_parameters()]
    held = [parameter.startswith(frozen) for parameter in parameters]
    assert all(any(parameter.startswith(prefix) for parameter in parameters) for prefix in frozen)
    assert 0 < sum(held) < len(held) / 2
    assert held == sorted(held, reverse=True)


def test_a_tiny_run_learns_goes_through_its_stages_and_resumes(folder: Path) -> None:
    # In a process of its own: forking data loaders out of one full of OpenVINO's threads can crash it.
    process = multiprocessing.get_context("spawn").Process(target=_tiny_run, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(("seconds", "minutes"), [(6, 6.0), (30, 10.0), (600, 20.0)])
def test_evaluations_take_a_twentieth_of_a_run_unless_that_risked_too_much_of_it(
    seconds: float, minutes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(loop, "time", clock)

    class Slow:
        judged_by = ("pck",)

        def figures(self, network: nn.Module, stage: Stage) -> dict[str, float]:
            clock.now += seconds
            return {"pck": 0.5}

    training = Training(TinyNetwork(), Slow(), TINY, Budget(minutes=100), tmp_path)  # type: ignore[arg-type]
    training._evaluate(TINY.stages[0], 0.0)
    assert training.wait == pytest.approx(minutes)
    seconds = 1.0  # the machine is free again
    training._evaluate(TINY.stages[0], 0.0)
    assert training.wait == pytest.approx(6.0)


def test_weights_that_saw_no_pictures_of_full_size_are_not_packed(tmp_path: Path) -> None:
    training = Training(TinyNetwork(), None, TINY, Budget(samples=100), tmp_path)  # type: ignore[arg-type]
    training.samples = 100  # all of it in the first stage
    with pytest.raises(InvalidInputError, match="spent on pictures of 48×64, before those of full size"):
        training.fit()


def test_figures_of_another_size_are_forgotten_by_a_resumed_run_as_well(tmp_path: Path) -> None:
    class Judged:
        """Ends the run's first stage at its first sample, and says what the second one is begun with."""

        judged_by = ("pck",)

        def samples(self, stage: Stage, seed: int) -> PoseSamples:
            seen.append((stage.input_size, training.best))
            raise KeyboardInterrupt

    seen: list = []
    training = Training(TinyNetwork(), Judged(), TINY, Budget(samples=100), tmp_path)  # type: ignore[arg-type]
    training.best, training.samples = 0.9, 99
    training.save()
    training = Training(TinyNetwork(), Judged(), TINY, Budget(samples=100), tmp_path)  # type: ignore[arg-type]
    assert training.best == 0.9
    with pytest.raises(KeyboardInterrupt):
        training.fit()
    assert seen == [(TINY.stages[-1].input_size, -1.0)]


class SingleThreadedTask(PoseTask):
    """Notices if OpenCV's threads would be forked with the processes that load data: those might never answer."""

    def samples(self, stage: Stage, seed: int) -> PoseSamples:
        assert cv2.getNumThreads() == 1
        return super().samples(stage, seed)


def _tiny_run(folder: Path) -> None:
    pictures.CACHE = folder / "cache"
    torch.manual_seed(0)
    run = folder / "run"
    first = Training(TinyNetwork(), PoseTask(folder), TINY, Budget(samples=160), run)
    best = first.fit()
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [entry["input"] for entry in entries] == [[48, 64], [96, 128]]
    assert entries[0]["loss"] > 0
    fresh = _loss(TinyNetwork(), folder)
    trained = TinyNetwork()
    trained.load_state_dict(torch.load(best, weights_only=True))
    assert _loss(trained, folder) < 0.95 * fresh

    resumed = Training(TinyNetwork(), PoseTask(folder), TINY, Budget(samples=200), run)
    assert resumed.samples == 160
    resumed.fit()
    assert resumed.samples == 200
    assert torch.equal(resumed.network.layers[0].weight, first.network.layers[0].weight)  # frozen in this stage
    assert not torch.equal(resumed.network.layers[3].weight, first.network.layers[3].weight)

    task, later = SingleThreadedTask(folder), folder / "later"
    settled = Training(TinyNetwork(), task, TINY.for_trained(SETTLED), Budget(samples=80), later)
    cv2.setNumThreads(2)
    settled.fit()
    assert cv2.getNumThreads() == 2
    assert settled.average.updates == 20  # the size stays, and so does the average
    assert (folder / "later" / "best.pt").exists()

    command.PREBUILT = folder / "prebuilt"
    design = SimpleNamespace(
        name="tiny", kind="pose", approach="top-down", network=TinyNetwork, task=PoseTask, recipe=TINY
    )
    packed = command.train(command.Start(design, folder, Budget(samples=80)), folder / "whole")
    assert packed == folder / "prebuilt" / "tiny" / "weights.safetensors"
    for name in ("weights.safetensors", "training.json"):  # in the run's folder for `average`
        assert packed.with_name(name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert json.loads(packed.with_name("training.json").read_text())["samples"] == 80
    with pytest.raises(InvalidInputError, match="has ended"):
        command.train(command.Start(design, folder, Budget(samples=80)), folder / "whole")


def _loss(network: nn.Module, folder: Path) -> float:
    task, stage = PoseTask(folder), TINY.stages[-1]
    crops, *truth = (torch.stack(part) for part in zip(*(task.samples(stage, 9)[i] for i in range(12))))
    network.eval()
    with torch.no_grad():
        return float(task.loss(network((crops.float() - 116) / 57), crops, tuple(truth)))
