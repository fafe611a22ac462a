"""The papers' training methods do what their equations say, and each learns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.__main__ import RECIPES
from converters.catalogue import DESIGNS
from converters.networks.efficienthrnet import EfficientHRNet
from converters.training import pictures as pictures_module
from converters.training.augmentation import half_body_box
from converters.training.command import Start
from converters.training.crowds import read_crowds
from converters.training.loop import SETTLED, Stage
from converters.training.losses import HeatmapLoss, crowd_targets, gaussian_targets
from converters.training.pose import PoseTask, recipe
from converters.training.recipes import METHODS
from converters.training.recipes.bottom_up import EMPHASIS, BottomUpTask, grouping_error, heatmap_error, visible
from converters.training.recipes.mapd import DistilledPoseTask, MAPDLoss
from converters.training.schedule import Budget, Iterative
from converters.training.teachers import in_pytorch
from mobilepose_sdk.errors import InvalidInputError

USUAL = recipe((192, 256))


# Iterative training (LPN §3.3)


def test_the_first_iterative_stage_is_the_step_schedule() -> None:
    schedule = Iterative(stages=1)
    assert schedule.restarts == ()
    assert [schedule(epoch / 150) for epoch in (0, 89, 90, 119, 120, 149)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_later_stages_replay_the_schedule_from_epoch_60() -> None:
    schedule = Iterative()
    total = 150 + 6 * 90
    assert schedule.restarts == pytest.approx([(150 + 90 * n) / total for n in range(6)])
    for start in schedule.restarts:
        rates = [schedule(start + epoch / total) for epoch in (0.5, 29.5, 30.5, 59.5, 60.5, 89.5)]
        assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_iterative_recipe_starts_at_the_papers_rate_and_size() -> None:
    _, changed = METHODS["iterative"](PoseTask(None), recipe((192, 256), stem=("conv1.",)), None)  # type: ignore[arg-type]
    assert changed.peak_rate == 1e-3
    assert changed.stages == (Stage((192, 256), 1.0),)
    assert len(changed.schedule.restarts) == 6


# Half bodies (MobilePoseNet §4.2)


def test_half_body_augmentation_turns_scales_and_shows_half_bodies() -> None:
    task, _ = METHODS["half-body"](PoseTask(None), USUAL, None)  # type: ignore[arg-type]
    assert isinstance(task, PoseTask)
    assert (task.augmentation.rotation, task.augmentation.scale) == (45, 0.35)
    assert task.augmentation.half_body_share > PoseTask(None).augmentation.half_body_share  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["iterative", "half-body"])
def test_the_papers_methods_are_not_calm_at_the_end(name: str) -> None:
    settled = USUAL.for_trained(SETTLED)
    assert settled.stages[-1].calm
    _, changed = METHODS[name](PoseTask(None), settled, None)  # type: ignore[arg-type]
    assert changed.stages[-1].until == 1 and not any(stage.calm for stage in changed.stages)


def test_half_bodies_are_heads_portraits_upper_or_lower_bodies() -> None:
    """Keypoint n lies at (10n, 10n)."""
    keypoints, rng = np.repeat(np.arange(17.0) * 10, 2).reshape(17, 2), np.random.default_rng(0)
    boxes = {tuple(half_body_box(keypoints, np.ones(17, bool), rng)) for _ in range(100)}  # type: ignore[arg-type]
    assert sorted(boxes) == [(-15, -15, 115, 115), (-9, -9, 69, 69), (-6, -6, 46, 46), (102.5, 102.5, 167.5, 167.5)]
    assert half_body_box(keypoints, np.arange(17) > 13, rng) is None
    smaller = keypoints / 4  # the head's keypoints are 10 pixels apart, the shoulders' 15
    assert len({half_body_box(smaller, np.ones(17, bool), rng) is None for _ in range(100)}) == 2
    assert half_body_box(smaller, np.arange(17) < 7, rng) is None


# Multi-angle pose distillation (ELPN §4)


def test_mapd_is_the_papers_weighted_sum() -> None:
    torch.manual_seed(0)
    student, teacher, target = torch.rand(3, 2, 5, 6, 4)
    weights = torch.tensor([[1.0, 0.0, 1, 1, 1], [1, 1, 1, 0.5, 1]])
    regression = ((student - teacher) ** 2).sum(dim=(2, 3)).mean()
    p, q = (x.flatten(2).softmax(dim=2) for x in (teacher, student))
    divergence = (p * (p / q).log()).sum(dim=2).mean()
    label = HeatmapLoss(cross_entropy=0)(student, target, weights)
    expected = 0.15 * regression + 0.075 * divergence + 0.775 * label
    assert MAPDLoss()(student, teacher, target, weights) == pytest.approx(float(expected), rel=1e-5)


def test_mapd_is_zero_where_student_teacher_and_label_agree() -> None:
    maps = torch.rand(2, 3, 8, 6)
    assert MAPDLoss()(maps, maps, maps, torch.ones(2, 3)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("peak", "at", "counts"),
    [
        (0.6, (2, 2), True),  # agrees
        (0.6, (9, 2), False),  # is sure of another place
        (0.3, (9, 2), True),  # is not sure
    ],
)
def test_a_label_that_the_teacher_surely_contradicts_does_not_count(peak, at, counts) -> None:
    target = gaussian_targets(torch.tensor([[[2.0, 2.0]]]), (12, 16), 1.5)
    teacher = peak * gaussian_targets(torch.tensor([[at]], dtype=torch.float32), (12, 16), 1.5)
    student, weights = torch.zeros(1, 1, 16, 12), torch.ones(1, 1)
    with_label = MAPDLoss(sure=0.4)(student, teacher, target, weights)
    without = MAPDLoss(sure=0.4)(student, teacher, target, 0 * weights)
    assert bool(with_label > without) == counts
    assert MAPDLoss()(student, teacher, target, weights) > without  # the paper's counts every label


def test_mapd_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match="--teacher"):
        METHODS["mapd"](PoseTask(None), USUAL, None)  # type: ignore[arg-type]


def test_shares_weigh_the_teachers_terms() -> None:
    task, _ = METHODS["mapd"](PoseTask(None), USUAL, in_pytorch(Tiny()))  # type: ignore[arg-type]
    assert isinstance(task, DistilledPoseTask)
    assert (task.distillation.alpha, task.distillation.beta) == (0.15, 0.075)  # the paper's
    other = task.with_shares(0.3, 0.7).distillation
    assert (other.alpha, other.beta, other.label) == (0.3, 0.7, task.distillation.label)


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.8, 0.3), (math.nan, 0.1)])
def test_shares_leave_something_or_nothing_to_the_labels(shares: tuple[float, float]) -> None:
    task, _ = METHODS["mapd"](PoseTask(None), USUAL, in_pytorch(Tiny()))  # type: ignore[arg-type]
    assert isinstance(task, DistilledPoseTask)
    with pytest.raises(InvalidInputError, match="at most 1 together"):
        task.with_shares(*shares)


def test_shares_are_for_mapd(tmp_path: Path) -> None:
    start = Start(DESIGNS["lpn-50"], tmp_path, Budget(samples=1), shares=(0.3, 0.3))
    with pytest.raises(InvalidInputError, match="--recipe mapd"):
        start.training(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", [None, "iterative", "half-body"])
def test_a_teacher_is_for_mapd(tmp_path: Path, method: str | None) -> None:
    start = Start(DESIGNS["elpn-v1"], tmp_path, Budget(samples=1), method=method, teacher="lpn-50")
    with pytest.raises(InvalidInputError, match="teaches by --recipe mapd alone"):
        start.training(tmp_path / "run")


def test_a_teacher_knows_crops_of_one_size(tmp_path: Path) -> None:
    design = DESIGNS["mobileposenet-384x288"]
    start = Start(design, tmp_path, Budget(samples=1), method="mapd", teacher="lpn-50")
    with pytest.raises(InvalidInputError, match="lpn-50 was trained on crops of 192×256, and cannot.*288×384"):
        start.training(tmp_path / "run")


@pytest.mark.parametrize("name", ["efficienthrnet-h-4", "person-detector"])
@pytest.mark.parametrize("method", METHODS)
def test_the_papers_methods_are_for_top_down_networks(tmp_path: Path, name: str, method: str) -> None:
    with pytest.raises(InvalidInputError, match="top-down network"):
        METHODS[method](DESIGNS[name].task(tmp_path), DESIGNS[name].recipe, None)


def test_the_program_offers_all_methods() -> None:
    assert set(RECIPES) == set(METHODS)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 17, 5, 2, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def dots(count: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, side, side) uint8 with a bright dot at each of 17 keypoints, which are returned as (N, 17, 2)."""
    rng = np.random.default_rng(0)
    points = rng.integers(8, side - 8, (count, 1, 2)).repeat(17, axis=1).astype(np.float32)
    pictures = np.zeros((count, 3, side, side), np.uint8)
    for picture, (x, y) in zip(pictures, points[:, 0].astype(int)):
        picture[:, y - 1 : y + 2, x - 1 : x + 2] = 255
    return torch.from_numpy(pictures), torch.from_numpy(points)


def learn(network: nn.Module, step, steps: int = 40) -> tuple[float, float]:
    """First and last loss of a few optimisation steps."""
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        loss = step()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


def test_a_student_learns_from_its_teacher_alone() -> None:
    torch.manual_seed(0)
    pictures, xy = dots(8)
    teacher = Tiny()
    nn.init.normal_(teacher.layers[3].weight, std=0.05)
    task, _ = METHODS["mapd"](PoseTask(None), recipe((64, 64)), in_pytorch(teacher))  # type: ignore[arg-type]
    assert isinstance(task, DistilledPoseTask)
    student = Tiny()
    unlabelled = (xy / 4, torch.zeros(8, 17))
    first, last = learn(student, lambda: task.loss(student(pictures.float() / 255), pictures, unlabelled))
    assert last < 0.7 * first
    assert all(not p.requires_grad for p in teacher.parameters())


def test_a_teacher_is_asked_about_pictures_of_the_size_it_knows_alone() -> None:
    pictures, xy = dots(2)
    alone = PoseTask(None)  # type: ignore[arg-type]
    task, _ = METHODS["mapd"](alone, recipe((128, 128)), in_pytorch(Tiny()))
    outputs, truth = torch.zeros(2, 17, 16, 16), (xy / 4, torch.ones(2, 17))
    assert task.loss(outputs, pictures, truth) == alone.loss(outputs, pictures, truth)
    task, _ = METHODS["mapd"](alone, recipe((64, 64)), in_pytorch(Tiny()))
    assert task.loss(outputs, pictures, truth) != alone.loss(outputs, pictures, truth)


# EfficientHRNet's losses (§4.2)


def test_heatmap_error_is_the_squared_error_to_everybodys_gaussians() -> None:
    keypoints = torch.tensor([[[[9.5, 9.5]], [[25.5, 17.5]]]])
    target = torch.maximum(*gaussian_targets(torch.tensor([[[2.0, 2.0]], [[6.0, 4.0]]]), (8, 8), 2.0))[None]
    nobody = torch.full((1, 1, 4), math.nan)
    weights = torch.ones(1, 2, 1)
    assert heatmap_error(target, keypoints, weights, nobody, 4) == pytest.approx(0, abs=1e-9)
    emphasised = 0.25 * (1 + EMPHASIS * target).mean()
    assert heatmap_error(target + 0.5, keypoints, weights, nobody, 4) == pytest.approx(float(emphasised))


def test_crowd_targets_are_gaussians_near_keypoints_and_the_trust_of_the_nearest() -> None:
    xy = torch.tensor([[[[2.25, 3.0], [40.0, 8.0]], [[12.0, 3.0], [0.0, 0.0]]]])  # the second one's place is outside
    weights = torch.tensor([[[0.5, 1.0], [0.25, 0.0]]])
    target, trust = crowd_targets(xy, weights, (24, 16), 2.0)
    both = gaussian_targets(xy[0, :, :1], (24, 16), 2.0)[:, 0]
    assert torch.allclose(target[0, 0], both.amax(dim=0), atol=0.012)
    assert (trust[0, 0, 3, :8] == 0.5).all() and (trust[0, 0, 3, 9:18] == 0.25).all()
    assert (trust[0, 0, :, 19:] == 1).all()  # beyond three standard deviations
    assert (target[0, 1] == 0).all() and (trust[0, 1] == 1).all()


def test_people_without_keypoints_are_masked_out() -> None:
    masked = torch.tensor([[[8.0, 0.0, 15.0, 7.0]]])
    seen = visible(masked, (8, 8), 4)
    assert seen[0, :2, 2:4].sum() == 0
    assert seen.sum() == 64 - 4
    heatmaps = torch.zeros(1, 1, 8, 8)
    heatmaps[0, 0, 0, 2] = 1
    none = (torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1))
    assert heatmap_error(heatmaps, *none, masked, 4) == 0
    assert heatmap_error(heatmaps, *none, torch.full((1, 1, 4), math.nan), 4) > 0


def test_grouping_error_pulls_a_person_together_and_pushes_people_apart() -> None:
    keypoints = torch.tensor([[[[1.5, 1.5], [1.5, 1.5]], [[13.5, 1.5], [13.5, 1.5]]]])
    weights = torch.ones(1, 2, 2)
    tags = torch.zeros(1, 2, 4, 4)
    tags[0, :, 0, 0] = torch.tensor([1.0, 3.0])  # mean 2, variance 1
    tags[0, :, 0, 3] = torch.tensor([5.0, 5.0])  # mean 5, variance 0
    pull, push = (1.0 + 0.0) / 2, 0.5 * math.exp(-9)
    assert grouping_error(tags, keypoints, weights, 4) == pytest.approx(pull + push)


def test_grouping_error_of_one_person_or_none_has_no_push() -> None:
    keypoints, tags = torch.full((1, 3, 2, 2), 5.5), torch.ones(1, 2, 4, 4)
    assert grouping_error(tags, keypoints, torch.tensor([[[1.0, 1.0], [0, 0], [0, 0]]]), 4) == 0
    assert grouping_error(tags, keypoints, torch.zeros(1, 3, 2), 4) == 0


def test_a_bottom_up_network_learns() -> None:
    torch.manual_seed(0)
    pictures, xy = dots(2, side=96)
    network = EfficientHRNet(-4)
    task = BottomUpTask(None)  # type: ignore[arg-type]
    truth = (xy[:, None], torch.ones(2, 1, 17), torch.full((2, 1, 4), math.nan))
    first, last = learn(network, lambda: task.loss(network(pictures.float() / 255), pictures, truth), steps=25)
    assert last < 0.7 * first


def test_crowds_keep_who_has_keypoints_and_mask_who_has_not() -> None:
    full = {"image_id": 1, "bbox": [0, 0, 10, 20], "keypoints": [3, 4, 2] * 17, "keypoint_weights": [0.5] * 17}
    box = {"image_id": 1, "bbox": [30, 0, 10, 20], "keypoints": [0] * 51}
    images = [{"id": 1, "all_people_annotated": True}, {"id": 2, "all_people_annotated": False}]
    people = [{"id": index, **entry} for index, entry in enumerate((full, box, {**full, "image_id": 2}))]
    (crowd,) = read_crowds({"images": images, "annotations": people}, {})
    assert crowd.keypoints.shape == (1, 17, 2)
    assert (crowd.weights == 0.5).all()
    assert crowd.unlabelled.tolist() == [[30, 0, 40, 20]]

    cleaned = np.tile(np.array([35, 10, 0.25], np.float32), (17, 1))
    (crowd,) = read_crowds({"images": images, "annotations": people}, {1: cleaned})
    assert crowd.keypoints[:, 0].tolist() == [[3, 4], [35, 10]]
    assert crowd.weights[:, 0].tolist() == [0.5, 0.25]
    assert crowd.unlabelled.shape == (0, 4)


def test_a_network_in_training_is_measured_through_the_sdks_own_pipeline(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pictures_module, "CACHE", tmp_path / "cache")
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), np.zeros((96, 128, 3), np.uint8))
    image = {"id": 1, "file_name": "1.png", "width": 128, "height": 96, "source": "coco2017_train2017"}
    points = np.stack([np.linspace(30, 90, 17), np.linspace(20, 80, 17)], axis=1)
    person = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [30, 20, 60, 60], "area": 3600.0}
    person |= {"num_keypoints": 17, "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist()}
    categories = [{"id": 1, "name": "person"}]
    content = {"images": [image], "annotations": [person], "categories": categories}
    (tmp_path / "dev.json").write_text(json.dumps(content))

    class Knows(nn.Module):
        """Answers with the person's heatmaps; the picture lies 16 pixels below the top of the square input."""

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            maps = [
                gaussian_targets(torch.tensor(((points + (0, 16)) + 0.5) / s - 0.5)[None].float(), (128 // s,) * 2, 2.0)
                for s in (4, 2)
            ]
            return torch.cat([maps[0], torch.zeros_like(maps[0])], dim=1), maps[1]

    figures = BottomUpTask(tmp_path).figures(Knows(), Stage((128, 128), 1.0))
    assert figures["ap"] == pytest.approx(1.0)
