"""Training does what the equations say, and a run goes on where it stopped."""

from __future__ import annotations

import json
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import distance_maps
from torch import Tensor, nn

from converters.catalogue import DESIGNS
from converters.training import command, pictures
from converters.training.augmentation import Augmentation, picture_end
from converters.training.detection import DetectionTask, giou, levels_of, map_boxes, overlap, owners, quality_focal_loss
from converters.training.loop import Recipe, Stage, Training
from converters.training.losses import HeatmapLoss, gaussian_targets
from converters.training.people import PoseSamples, read_labels, read_people
from converters.training.pose import PoseTask, target_sigma
from converters.training.scenes import Scenes, _empty_window
from converters.training.schedule import AveragedWeights, Budget, Cosine
from mobilepose_sdk.skeleton import COCO_17

PLAIN = Augmentation(colour=0, blur_share=0, other_person_share=0)
"""Geometry alone."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of six drawn people, whose keypoints are bright dots on dark pictures."""
    monkeypatch.setattr(pictures, "CACHE", tmp_path / "cache")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 7):
        points = rng.uniform(30, 130, (17, 2)).round(1)
        picture = np.full((160, 160, 3), 30, np.uint8)
        for x, y in points:
            cv2.circle(picture, (round(x), round(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": 160, "height": 160, "source": "lsp"}
            | {"all_people_annotated": True}
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [25, 25, 110, 110],
                "area": 6000,
                "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
                "num_keypoints": 17,
            }
        )
    for entry in images[3:]:
        entry["source"] = "coco2017_train2017"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    for name in ("train.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


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
        average.update(network)
    assert torch.allclose(average.network.weight, network.weight, atol=1e-4)


def test_restarted_average_is_the_network_and_young_again() -> None:
    network = nn.Linear(2, 2)
    average = AveragedWeights(network)
    for _ in range(2000):
        average.update(network)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.restart(network)
    assert torch.equal(average.network.weight, network.weight)
    with torch.no_grad():
        network.weight.fill_(2.0)
    average.update(network)
    assert float(average.network.weight.mean()) > 1.5


def test_a_sample_is_the_same_whenever_it_is_drawn(folder: Path) -> None:
    first = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    again = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    first[0], first[20]
    for one, other in zip(first[13], again[13]):
        assert torch.equal(one, other)


def test_an_epoch_shows_every_person_once(folder: Path) -> None:
    samples = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    seen: list[int] = []
    samples.sample = lambda index, rng: seen.append(index)  # type: ignore[method-assign,assignment,return-value]
    for draw in range(12):
        samples[draw]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:]


def test_people_of_a_source_are_shown_as_often_as_asked(folder: Path) -> None:
    data = folder / "train.json", folder / "images", (96, 128), PLAIN
    assert len(PoseSamples(*data, seed=0, repeats={"lsp": 3, "elsewhere": 9})) == 3 * 3 + 3
    assert len(PoseSamples(*data, seed=0)) == 6


def test_people_stand_before_others_as_often_as_asked(folder: Path) -> None:
    alone, together = (
        PoseSamples(folder / "train.json", folder / "images", (96, 128), replace(PLAIN, other_person_share=share), 0)
        for share in (0.0, 1.0)
    )
    changed = 0
    for draw in range(12):
        (crop, *truth), (covered, *same) = alone[draw], together[draw]
        assert all(torch.equal(one, other) for one, other in zip(truth, same))
        changed += not torch.equal(crop, covered)
    assert changed > 3


def test_nothing_is_seen_or_known_beyond_where_a_picture_ends(folder: Path) -> None:
    changes = replace(PLAIN, cut_share=1.0, half_body_share=0, rotation_share=0)
    cut, whole = (
        PoseSamples(folder / "train.json", folder / "images", (96, 128), replace(changes, cut_share=share), 0)
        for share in (1.0, 0.0)
    )
    dark, known = [], []
    for samples in (cut, whole):
        crops, _, weights = zip(*(samples[draw] for draw in range(40)))
        dark.append(float((torch.stack(crops) == 0).all(dim=1).float().mean()))
        known.append(float(torch.stack(weights).mean()))
    assert dark[0] > dark[1] + 0.05
    assert known[0] < 0.9 * known[1]


def test_a_picture_ends_inside_a_person_and_leaves_some_of_them() -> None:
    box, keypoints = np.array([100.0, 50, 200, 350]), np.random.default_rng(1).uniform((100, 50), (200, 350), (17, 2))
    ends = [picture_end(box, keypoints, np.ones(17, bool), np.random.default_rng(seed)) for seed in range(200)]
    found = np.stack([edges for edges in ends if edges is not None])
    assert len(found) > 100
    assert ((keypoints >= found[:, None, :2]) & (keypoints <= found[:, None, 2:])).all(axis=2).sum(axis=1).min() >= 3
    finite = np.isfinite(found)
    assert set(finite.sum(axis=1)) == {1, 2}
    assert ((found > np.tile(box[:2], 2)) & (found < np.tile(box[2:], 2)))[finite].all()
    assert finite[:, 3].sum() > finite[:, :3].sum()  # legs are what is missing most often
    assert picture_end(box, keypoints, np.arange(17) < 2, np.random.default_rng(0)) is None


def test_augmented_keypoints_stay_on_their_pixels(folder: Path) -> None:
    samples = PoseSamples(folder / "train.json", folder / "images", (96, 128), PLAIN, 0)
    on_dot = []
    for draw in range(60):
        crop, xy, weights = samples[draw]
        for (x, y), weight in zip(xy.numpy() * 4, weights.numpy()):
            if weight and 1 <= x <= 94 and 1 <= y <= 126:
                on_dot.append(int(crop[:, round(float(y)), round(float(x))].max()) > 120)
    assert len(on_dot) > 400
    assert np.mean(on_dot) > 0.97


def test_flipping_swaps_left_and_right() -> None:
    names = np.array(COCO_17.names)
    assert names[COCO_17.flip_indices][5] == "right_shoulder"
    assert (COCO_17.flip_indices[COCO_17.flip_indices] == np.arange(17)).all()


class TinyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 17, 5, 2, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


TINY = Recipe(stages=(Stage((48, 64), 0.5), Stage((96, 128), 1.0, frozen=("layers.0",))), batch=4)


def test_a_trained_network_skips_the_smallest_pictures_and_the_first_rate() -> None:
    assert TINY.for_trained() == Recipe(stages=TINY.stages[1:], batch=4, peak_rate=TINY.peak_rate / 2)
    assert TINY.for_trained().for_trained() == TINY.for_trained()  # one size is left as it is


@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet-256x192"])
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


def test_cleaning_writes_the_labels_that_training_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(nn.Module):
        """Sees every keypoint in the middle of its crop."""

        def forward(self, crops: Tensor) -> Tensor:
            heatmaps = torch.zeros(len(crops), 17, crops.shape[2] // 4, crops.shape[3] // 4)
            heatmaps[:, :, heatmaps.shape[2] // 2, heatmaps.shape[3] // 2] = 1.0
            return heatmaps

    monkeypatch.setattr(command, "trained", lambda name: Stubborn())
    said = command.clean("lpn-50", folder, folder / "labels.json")
    people = read_people(folder / "train.json")[1]
    far = np.stack([np.linalg.norm(person.keypoints - 80, axis=1) for person in people])
    size = 110  # the boxes' side; labels within a pixel of the limit may fall either way
    labels = read_labels(folder / "labels.json")
    triples = np.stack([labels[person.id] for person in people])
    middle = np.linalg.norm(triples[..., :2] - 80, axis=2) < 3
    doubted, kept = far > 0.2 * size + 1, far < 0.2 * size - 1
    assert middle[doubted].all() and (triples[doubted, 2] == 0.5).all()
    assert (triples[kept, 2] == 1).all()
    assert np.allclose(triples[kept, :2], np.stack([p.keypoints for p in people])[kept], atol=0.01)
    assert said.startswith(f"{(triples[..., 2] < 1).sum()} of 102 labels of 6 people are contradicted")
    again = read_people(folder / "train.json", labels=labels)[1]
    assert np.array_equal(np.stack([p.keypoints for p in again]), triples[..., :2])
    assert np.array_equal(np.stack([p.weights for p in again]), triples[..., 2])


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


def _loss(network: nn.Module, folder: Path) -> float:
    task, stage = PoseTask(folder), TINY.stages[-1]
    crops, *truth = (torch.stack(part) for part in zip(*(task.samples(stage, 9)[i] for i in range(12))))
    network.eval()
    with torch.no_grad():
        return float(task.loss(network((crops.float() - 116) / 57), crops, tuple(truth)))


def test_scenes_hold_one_or_many_people_all_within_the_picture(folder: Path) -> None:
    scenes = Scenes(folder, (96, 64), Augmentation(), seed=0)
    counts = []
    for draw in range(60):
        picture, boxes = scenes[draw]
        people = boxes[~boxes[:, 0].isnan()].numpy()
        assert picture.shape == (3, 64, 96)
        assert (people[:, :2] >= 0).all()
        assert (people[:, 2:] <= (96, 64)).all()
        assert (people[:, 2:] > people[:, :2]).all()
        counts.append(len(people))
    assert min(counts) <= 1
    assert max(counts) > 4


def test_an_empty_window_shows_nobody() -> None:
    boxes = np.array([[40.0, 10.0, 60.0, 90.0]])
    for seed in range(20):
        window = _empty_window((100, 100), boxes, np.random.default_rng(seed))
        assert window is not None
        columns = range(100)[window[1]]
        assert columns[-1] < 40 or columns[0] >= 60
    assert _empty_window((100, 100), np.array([[5.0, 5.0, 95.0, 95.0]]), np.random.default_rng(0)) is None


def test_each_person_is_one_maps_to_find() -> None:
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 40.0, 160.0], [0.0, 0.0, 300.0, 300.0], [math.nan] * 4])
    assert levels_of(boxes).tolist() == [0, 1, 2, 0]


def test_cells_near_a_persons_middle_learn_the_smallest_there() -> None:
    boxes = torch.tensor([[[4.0, 4.0, 58.0, 58.0], [20.0, 20.0, 44.0, 44.0], [math.nan] * 4]])
    fine, coarse = owners(boxes, 0, (12, 10)), owners(boxes, 1, (6, 5))
    assert fine.shape == (1, 10, 12)
    assert sorted(set(fine.flatten().tolist())) == [-1, 0, 1]
    assert fine[0, 3:5, 3:5].tolist() == [[1, 1], [1, 1]]
    assert fine[0, 0, 0] == -1
    assert coarse.max() == -1


def test_the_score_is_to_be_the_overlap() -> None:
    quality = torch.tensor([0.0, 0.4, 0.9])
    right = torch.logit(quality, eps=1e-4)
    assert quality_focal_loss(right, quality) < 1e-3 < quality_focal_loss(right + 2, quality)
    wanted = 0.25**2 * -math.log(0.75)  # eq. 5 with y = 0, sigma = 0.25
    assert quality_focal_loss(torch.logit(torch.tensor([0.25])), torch.zeros(1)) == pytest.approx(wanted)


def test_giou_of_equal_boxes_is_one_and_of_distant_ones_negative() -> None:
    box = torch.tensor([0.0, 0.0, 4.0, 4.0])
    assert giou(box, box) == pytest.approx(1)
    assert giou(box, box + 100) < -0.9
    assert giou(box, torch.tensor([2.0, 0.0, 6.0, 4.0])) == pytest.approx(1 / 3)


def test_overlap_is_the_shared_part() -> None:
    assert overlap(torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([2.0, 0.0, 6.0, 4.0])) == pytest.approx(1 / 3)


TWO = np.array([[10.0, 20.0, 60.0, 70.0], [100.0, 40.0, 250.0, 230.0]])


def test_torch_and_the_sdk_read_the_same_boxes_from_a_map() -> None:
    maps = distance_maps(TWO, np.array([0.9, 0.8]), (320, 256))
    read = [map_boxes(torch.from_numpy(output)[None], level)[0].numpy() for level, output in enumerate(maps)]
    found = np.concatenate([boxes[output[0] > 0] for output, boxes in zip(maps, read)])
    np.testing.assert_allclose(found, TWO, atol=1e-3)


def test_the_detectors_loss_is_least_for_the_truth() -> None:
    task, truth = DetectionTask(Path("nowhere")), (torch.from_numpy(TWO).float()[None],)

    def loss(found: np.ndarray) -> float:
        maps = distance_maps(found, np.array([0.98, 0.98]), (320, 256))
        outputs = tuple(torch.from_numpy(output)[None] for output in maps)
        return float(task.loss(outputs, torch.zeros(1, 3, 256, 320), truth))

    assert loss(TWO) < loss(TWO + 8)
    assert loss(TWO) < loss(TWO * 0.8)
