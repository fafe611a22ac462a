"""Bottom-up estimation, with networks that know who is in the picture, and with a real one."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fakes import FakePose, write_model

from mobilepose_sdk import PoseEstimator, runtimes
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, MobilePoseError, ModelFileError
from mobilepose_sdk.pipelines.people import person_scores
from mobilepose_sdk.skeleton import COCO_17

SIDE = 128
K = len(COCO_17)
FLIP = COCO_17.flip_indices
SIZES = [(300, 300), (640, 427), (427, 640), (201, 133), (133, 201), (401, 400), (97, 31), (1200, 800)]
FOLDER = {
    "name": "fake-crowd",
    "approach": "bottom-up",
    "input_size": [SIDE, SIDE],
    "color": "rgb",
    "decoder": {"max_people": 30, "detection_threshold": 0.1, "tag_threshold": 1.0},
    "outputs": [
        {"name": "heatmaps_and_tags", "shape": [1, 2 * K, SIDE // 4, SIDE // 4]},
        {"name": "fine_heatmaps", "shape": [1, K, SIDE // 2, SIDE // 2]},
    ],
}


def shown(points, image_size, side):
    """Where the network sees points of a picture: its outer edges span the longer side, and it lies in the middle."""
    size = np.array(image_size)
    return (np.asarray(points) + 0.5 + (size.max() - size) / 2) / size.max() * side - 0.5


def from_cells(cells, image_size):
    """The points of a picture that lie a quarter right of and below the centres of pixels of the fine map."""
    size = np.array(image_size)
    return (np.asarray(cells) + 0.75) / (SIDE // 2) * size.max() - (size.max() - size) / 2 - 0.5


def crowd(count, image_size, seed=0):
    """(count, K, 2): people side by side in a picture, their keypoints at random within two map pixels of a middle."""
    rng = np.random.default_rng(seed)
    cells = SIDE // 2 * np.array(image_size) / max(image_size)
    columns = max(1, round(np.sqrt(count * cells[0] / cells[1])))
    rows = -(-count // columns)
    places = np.stack(np.divmod(np.arange(count), rows), axis=1)
    middles = (places + 0.5) / (columns, rows) * cells + (SIDE // 2 - cells) / 2
    return from_cells(np.floor(middles)[:, None] + rng.integers(-2, 3, (count, K, 2)), image_size)


def picture_of(image_size):
    """Its left half is light, so that a network can tell whether it sees it mirrored."""
    picture = np.zeros((image_size[1], image_size[0], 3), np.uint8)
    picture[:, : image_size[0] // 2] = 255
    return picture


class Crowd:
    """A network that knows where the people (N, K, 2) of a picture are, and draws them where it is shown them.

    Args:
        tags: (N,) of the picture as it is, mirrored, or at other sizes: by (side, mirrored), else by None.
        heights: (N, K) of the heatmaps.
        coarse: how strongly they appear in the coarse heatmaps.
    """

    def __init__(self, people, image_size, *, tags=None, heights=0.8, coarse=1.0):
        self.people, self.image_size, self.coarse = np.asarray(people, float), image_size, coarse
        count = len(self.people)
        self.tags = {None: 5.0 * np.arange(count), **(tags or {})}
        self.heights = np.broadcast_to(heights, (count, K))
        self.inputs, self.closed = [], False

    def __call__(self, batch):
        if self.closed:
            raise MobilePoseError("closed")
        assert batch.dtype == np.uint8 and batch.shape[0] == 1 and batch.flags.c_contiguous
        self.inputs.append(batch[0])
        side = batch.shape[1]
        light = batch[0].astype(float)
        mirrored = light[:, : side // 2].sum() < light[:, side // 2 :].sum()
        xy, heights = shown(self.people, self.image_size, side), self.heights
        if mirrored:
            xy, heights = xy[:, FLIP], heights[:, FLIP]
            xy[..., 0] = side - 1 - xy[..., 0]
        tags = self.tags.get((side, mirrored), self.tags[None])
        coarse = self.coarse * draw(xy, heights, side, stride=4, sigma=1.0)
        fine = draw(xy, heights, side, stride=2, sigma=2.0)
        return [np.concatenate([coarse, regions(xy, tags, side, stride=4)])[None], fine[None]]

    def close(self):
        self.closed = True


def draw(xy, heights, side, stride, sigma):
    """(K, H, W) maps with Gaussians at input pixels xy (N, K, 2)."""
    squared = squared_distances(xy, side, stride)
    return (heights[..., None, None] * np.exp(-squared / (2 * sigma**2))).max(axis=0, initial=0).astype(np.float32)


def regions(xy, tags, side, stride):
    """(K, H, W): everywhere the tag of the person whose keypoint is nearest."""
    squared = squared_distances(xy, side, stride)
    if not len(xy):
        return np.zeros(squared.shape[1:], np.float32)
    return np.asarray(tags, np.float32)[squared.argmin(axis=0)]


def squared_distances(xy, side, stride):
    """(N, K, H, W) from every map pixel, which covers ``stride`` input pixels."""
    y, x = np.mgrid[: side // stride, : side // stride]
    column, row = np.moveaxis((np.asarray(xy) + 0.5) / stride - 0.5, -1, 0)
    return (x - column[..., None, None]) ** 2 + (y - row[..., None, None]) ** 2


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Makes estimators of a network that knows; a detector cannot be loaded."""

    def make(network, folder="model", card=None, **options):
        def load(card, *_):
            assert card.kind == "pose", "a detector was loaded"
            return network

        monkeypatch.setattr(runtimes, "load", load)
        path = tmp_path / folder
        return PoseEstimator(path if path.exists() else write_model(path, **{**FOLDER, **(card or {})}), **options)

    return make


def assert_found(result, people, tolerance=1e-2):
    """Whether the result has these people (N, K, 2), in whatever order, and no others."""
    assert len(result) == len(people)
    if len(people):
        distance = np.abs(result.keypoints[None] - np.asarray(people)[:, None]).max(axis=(2, 3))
        assert sorted(distance.argmin(axis=1)) == list(range(len(people)))
        assert distance.min(axis=1).max() <= tolerance


def assert_same(first, second):
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.image_size == second.image_size


# What the network is shown


@pytest.mark.parametrize("image_size", SIZES, ids=repr)
def test_the_network_sees_the_whole_picture_in_the_middle_and_black_beside(make, image_size):
    """A dot is where the SDK's map of coordinates says: half a pixel off would be seen."""
    width, height = image_size
    dots = np.array([[0.2, 0.3], [0.7, 0.25], [0.4, 0.8]]) * image_size
    y, x = np.mgrid[:height, :width]
    radius = max(image_size) / 40
    for dot in dots:
        light = 255 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / (2 * radius**2))
        network = Crowd(np.zeros((0, K, 2)), image_size)
        make(network)(np.repeat(light[..., None], 3, axis=2).astype(np.uint8))
        (seen,) = network.inputs
        seen = np.where(seen[..., 0] > 20, seen[..., 0], 0).astype(float)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        np.testing.assert_allclose(centre, shown(dot, image_size, SIDE), atol=0.1)


@pytest.mark.parametrize("image_size", [(300, 300), (300, 150), (150, 300)], ids=repr)
def test_only_the_short_side_is_padded_and_evenly(make, image_size):
    network = Crowd(np.zeros((0, K, 2)), image_size)
    make(network)(np.full((*image_size[::-1], 3), 200, np.uint8))
    lit = network.inputs[0][..., 0] == 200
    bars = {150: SIDE // 4, 300: 0}
    across, down = (bars[length] for length in image_size)
    assert lit[down : SIDE - down, across : SIDE - across][2:-2, 2:-2].all()
    lit[down : SIDE - down, across : SIDE - across] = False
    assert not lit.any()


@pytest.mark.parametrize(("color", "channel"), [("rgb", 0), ("bgr", 2)])
def test_the_channels_are_in_the_order_that_the_card_names(make, color, channel):
    network = Crowd(np.zeros((0, K, 2)), (50, 50))
    make(network, card={"color": color})(np.full((50, 50, 3), [0, 0, 255], np.uint8))
    assert network.inputs[0][SIDE // 2, SIDE // 2].nonzero()[0].tolist() == [channel]


# People


@pytest.mark.parametrize("count", range(11))
@pytest.mark.parametrize("image_size", [(640, 427), (427, 640)], ids=repr)
def test_everybody_is_found(make, image_size, count):
    people = crowd(count, image_size, seed=count)
    result = make(Crowd(people, image_size))(picture_of(image_size))
    assert_found(result, people)
    assert result.keypoints.shape == (count, K, 2)
    assert result.image_size == image_size
    assert result.skeleton is COCO_17


@pytest.mark.parametrize("image_size", SIZES, ids=repr)
def test_keypoints_are_exact_in_pictures_of_any_shape(make, image_size):
    people = crowd(2, image_size)
    assert_found(make(Crowd(people, image_size))(picture_of(image_size)), people)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 40_000)], ids=repr)
def test_pictures_of_any_size_are_taken(make, shape):
    image_size = shape[::-1]
    middle = np.tile((np.array(image_size) - 1) / 2, (1, K, 1))
    result = make(Crowd(middle, image_size))(np.full((*shape, 3), 255, np.uint8))
    assert len(result) == 1
    np.testing.assert_allclose(result.keypoints, middle, atol=max(shape) / SIDE)


def test_a_score_is_the_mean_of_both_heatmaps(make):
    people = crowd(1, (300, 300))
    both, fine = (make(Crowd(people, (300, 300), coarse=c))(picture_of((300, 300))) for c in (1.0, 0.0))
    near_peak = np.exp(-2 * 0.25**2 / (2 * 2**2))  # the fine map's pixel is a quarter off the peak on both axes
    np.testing.assert_allclose(fine.keypoint_scores, 0.8 * near_peak / 2, rtol=1e-5)
    assert (both.keypoint_scores > 0.8 * 0.9).all()


def test_a_person_scores_the_sum_of_the_confident_keypoints_over_all(make):
    heights = np.full((1, K), 0.8)
    heights[0, :5] = 0.05
    people = crowd(1, (300, 300))
    result = make(Crowd(people, (300, 300), heights=heights))(picture_of((300, 300)))
    sure = result.keypoint_scores[0, 5:]
    np.testing.assert_allclose(result.scores, [sure.sum() / K], rtol=1e-6)
    np.testing.assert_allclose(result.scores, person_scores(result.keypoint_scores, np.array([12 / 17])), rtol=1e-6)


def test_people_come_highest_score_first(make):
    heights = np.repeat([[0.5], [0.9], [0.3], [0.7]], K, axis=1)
    people = crowd(4, (300, 300))
    result = make(Crowd(people, (300, 300), heights=heights))(picture_of((300, 300)))
    np.testing.assert_allclose(result.keypoints, people[[1, 3, 0, 2]], atol=1e-2)


def test_a_weak_keypoint_is_filled_in_and_one_without_heat_is_in_the_middle_of_the_person(make):
    heights = np.full((2, K), 0.8)
    heights[:, 9], heights[:, 10] = 0.05, 0.0
    people = crowd(2, (300, 200))
    result = make(Crowd(people, (300, 200), heights=heights))(picture_of((300, 200)))
    people = people[np.abs(people[:, None] - result.keypoints[None])[:, :, 0].sum(axis=2).argmin(axis=0)]
    np.testing.assert_allclose(result.keypoints[:, 9], people[:, 9], atol=1e-2)
    assert (result.keypoint_scores[:, 10] == 0).all()
    found = np.delete(people, 10, axis=1)
    np.testing.assert_allclose(result.keypoints[:, 10], found.mean(axis=1), atol=1e-2)


def test_a_card_without_adjustment_has_keypoints_on_pixel_centres(make):
    heights = np.full((1, K), 0.8)
    heights[:, 9] = 0.05  # filled in, which the quarter is always part of
    people = crowd(1, (300, 300))
    network = Crowd(people, (300, 300), heights=heights)
    result = make(network, card={"decoder": {"adjust": False}})(picture_of((300, 300)))
    quarter = 0.25 / (SIDE // 2) * 300
    expected = np.delete(people, 9, axis=1) - quarter
    np.testing.assert_allclose(np.delete(result.keypoints, 9, axis=1), expected, atol=1e-2)
    np.testing.assert_allclose(result.keypoints[:, 9], people[:, 9], atol=1e-2)


# Boxes


def test_a_box_is_the_extent_of_the_confident_keypoints_and_a_tenth_of_its_longer_side(make):
    heights = np.full((1, K), 0.8)
    heights[0, 16] = 0.05
    people = crowd(1, (300, 300))
    people[0, 16] = from_cells([50, 50], (300, 300))
    result = make(Crowd(people, (300, 300), heights=heights))(picture_of((300, 300)))
    low, high = people[0, :16].min(axis=0), people[0, :16].max(axis=0)
    margin = max((high - low).max() / 10, 300 / (SIDE // 2))
    np.testing.assert_allclose(result.boxes, [[*(low - margin), *(high + margin)]], atol=0.05)


def test_a_box_around_one_point_has_a_map_pixel_on_each_side(make):
    people = np.tile(from_cells([30, 30], (640, 640)), (1, K, 1))
    result = make(Crowd(people, (640, 640)))(picture_of((640, 640)))
    np.testing.assert_allclose(result.boxes[0, 2:] - result.boxes[0, :2], 20, atol=0.05)


def test_boxes_end_at_the_picture_and_keypoints_do_not(make):
    """The person stands in the picture's left edge, half in the black beside it."""
    people = crowd(1, (200, 400))
    people[..., 0] += from_cells([16, 0], (200, 400))[0] - people[..., 0].mean()
    result = make(Crowd(people, (200, 400)))(picture_of((200, 400)))
    assert (result.keypoints[..., 0] < 0).any()
    assert result.boxes[0, 0] == 0 < result.boxes[0, 2]


def test_who_is_found_beside_the_picture_is_nobody(make):
    people = crowd(2, (200, 400))
    people[1] += from_cells([5, 0], (200, 400)) - people[1].mean(axis=0) * [1, 0]
    assert_found(make(Crowd(people, (200, 400)))(picture_of((200, 400))), people[:1])


# Merging


@pytest.mark.parametrize(("nms", "count"), [("hard", 1), ("soft", 1), ("parallel", 1), (None, 2)])
def test_a_person_whom_the_grouping_took_apart_is_merged(make, nms, count):
    """One ankle's tag is a little too far off: it makes a second person, who is given all other keypoints."""
    people = crowd(1, (300, 300))

    class Torn(Crowd):
        def __call__(self, batch):
            coarse, fine = super().__call__(batch)
            coarse[0, K:] = np.where(coarse[0, :K] > 0.01, 10, 0)
            coarse[0, K + 15] += 1.2
            return [coarse, fine]

    assert len(make(Torn(people, (300, 300)), nms=nms)(picture_of((300, 300)))) == count


# Flip test


def test_flip_test_agrees_with_the_plain_test_for_a_network_without_errors(make):
    people = crowd(4, (301, 200))
    network = Crowd(people, (301, 200))
    assert_found(make(network, flip_test=True)(picture_of((301, 200))), people)
    assert len(network.inputs) == 2
    np.testing.assert_array_equal(network.inputs[1], network.inputs[0][:, ::-1])


def test_flip_test_averages_with_left_and_right_exchanged(make):
    """A network that misses the left wrist in the picture as it is, and so the right one in the mirrored picture."""
    left, right = COCO_17.names.index("left_wrist"), COCO_17.names.index("right_wrist")

    class Blind(Crowd):
        def __call__(self, batch):
            outputs = super().__call__(batch)
            for output in outputs:
                output[:, left] = 0
            return outputs

    people = crowd(1, (300, 300))
    result = make(Blind(people, (300, 300)), flip_test=True)(picture_of((300, 300)))
    assert_found(result, people)
    scores = result.keypoint_scores[0]
    np.testing.assert_allclose(scores[[left, right]] * 2, scores[[0, 0]], rtol=0.05)


def test_flip_test_tells_people_apart_by_the_mirrored_pictures_tags_too(make):
    size = (300, 150)
    people, alike = crowd(8, size)[[0, 2]], {None: [1, 1.1], (SIDE, True): [1, 9]}  # side by side, in the left half
    plain, flipped = (
        make(Crowd(people, size, tags=alike), flip_test=flip_test)(picture_of(size)) for flip_test in (False, True)
    )
    assert np.ptp(plain.keypoints[..., 0], axis=1).max() > 60  # from one person to the other
    assert_found(flipped, people)


# Several scales


@pytest.mark.parametrize("image_size", SIZES, ids=repr)
def test_the_multi_scale_test_agrees_with_the_plain_test_for_a_network_without_errors(make, image_size):
    """Within a quarter of a map pixel: at the smallest scale the peaks are drawn on a coarser grid."""
    people = crowd(2, image_size)
    network = Crowd(people, image_size)
    result = make(network, scales=(0.5, 1, 1.5), flip_test=True)(picture_of(image_size))
    assert_found(result, people, tolerance=0.51 * max(image_size) / (SIDE // 2))
    nearest = np.abs(result.keypoints.mean(axis=1)[:, None] - people.mean(axis=1)).max(axis=2).min(axis=1)
    assert (nearest < max(image_size) / 400).all()  # on the average there is no shift
    assert [len(seen) for seen in network.inputs] == [64, 64, 128, 128, 192, 192]


@pytest.mark.parametrize("scale", [0.5, 1, 1.5, 2])
def test_one_scale_alone_is_exact_at_its_own_resolution(make, scale):
    image_size = (301, 200)
    finer = shown(crowd(1, image_size), image_size, SIDE * scale)
    finer = (np.round((finer + 0.5) / 2 - 0.75) + 0.75) * 2 - 0.5  # to quarters off the scale's own map pixels
    people = (finer + 0.5) / (SIDE * scale) * 301 - (301 - np.array(image_size)) / 2 - 0.5
    assert_found(make(Crowd(people, image_size), scales=[scale])(picture_of(image_size)), people)


def test_heatmaps_are_averaged_over_the_scales(make):
    class OneSize(Crowd):
        def __call__(self, batch):
            return [output * (batch.shape[1] == SIDE) for output in super().__call__(batch)]

    people = crowd(1, (300, 300))
    network = OneSize(people, (300, 300))
    alone, together = (make(network, scales=s)(picture_of((300, 300))) for s in ([1], (0.5, 1, 1.5)))
    np.testing.assert_allclose(together.keypoint_scores * 3, alone.keypoint_scores, rtol=1e-5)


@pytest.mark.parametrize("telling", [64, 128, 192])
def test_people_are_told_apart_by_the_tags_of_every_scale(make, telling):
    people, alike = crowd(2, (300, 200)), {None: [1, 1.1], (telling, False): [1, 9]}
    result = make(Crowd(people, (300, 200), tags=alike), scales=(0.5, 1, 1.5))(picture_of((300, 200)))
    assert_found(result, people, tolerance=0.51 * 300 / (SIDE // 2))


@pytest.mark.parametrize(("scale", "side"), [(0.5, 64), (0.6, 96), (0.75, 96), (0.76, 128), (0.01, 32), (1 / 3, 64)])
def test_sides_are_brought_up_to_a_multiple_of_32(make, scale, side):
    network = Crowd(np.zeros((0, K, 2)), (300, 200))
    make(network, scales=(scale,))(picture_of((300, 200)))
    assert network.inputs[0].shape == (side, side, 3)


# Like any other model


def test_a_batch_equals_single_calls(make):
    network = Crowd(crowd(3, (300, 200)), (300, 200))
    estimator = make(network)
    pictures = [picture_of(size) for size in [(300, 200), (200, 300), (150, 100)] * 7]
    for together, alone in zip(estimator.batch(pictures), map(estimator, pictures), strict=True):
        assert_same(together, alone)


def test_threads_may_share_an_estimator(make):
    estimator = make(Crowd(crowd(3, (300, 200)), (300, 200)), flip_test=True)
    pictures = [picture_of(size) for size in [(300, 200), (200, 300), (150, 100)] * 4]
    expected = [estimator(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(expected, pool.map(estimator, pictures), strict=True):
            assert_same(alone, together)


def test_a_closed_estimator_says_so_and_has_freed_the_network(make):
    network = Crowd(crowd(1, (300, 200)), (300, 200))
    with make(network) as estimator:
        assert not network.closed
    assert network.closed
    with pytest.raises(MobilePoseError, match="was closed; make a new one"):
        estimator(picture_of((300, 200)))


def test_a_stream_follows_people_without_a_detector(make):
    people = crowd(2, (300, 200))
    frames = [picture_of((300, 200))] * 3
    results = list(make(Crowd(people, (300, 200))).stream(frames, smoothing=None))
    first = sorted(results[0].track_ids)
    assert len(first) == 2
    assert [sorted(result.track_ids) for result in results] == [first] * 3


def test_a_missing_scipy_is_an_error_that_names_the_extra(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[bottom-up\]'"):
        make(Crowd([], (300, 200)))


# What has no meaning here

REFUSED = {
    "detector function": ({"detector": lambda _: []}, "finds everybody by itself and has no use for the detector"),
    "another detector": ({"detector": "my-detector"}, "no use for the detector 'my-detector'. Leave detector out"),
    "decoder": ({"decoder": "soft-argmax"}, "groups keypoints by their tags.*Leave decoder out; got 'soft-argmax'"),
    "blur": ({"blur": 1.0}, "blur is for top-down models.*Leave blur out; got 1.0"),
    "no scale": ({"scales": ()}, r"scales must be numbers above 0 and at most 4, as \(0.5, 1, 1.5\); got \(\)"),
    "a scale of 0": ({"scales": (0, 1)}, "scales must be numbers above 0"),
    "NaN": ({"scales": [float("nan")]}, "scales must be numbers above 0"),
    "a huge scale": ({"scales": [4.5]}, "scales must be numbers above 0 and at most 4"),
    "text": ({"scales": "1"}, "scales must be numbers"),
    "a number": ({"scales": 1.5}, "scales must be numbers"),
    "names": ({"scales": ["half"]}, "scales must be numbers"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_an_option_without_meaning_is_refused_before_the_network_is_loaded(monkeypatch, tmp_path, options, message):
    monkeypatch.setattr(runtimes, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InvalidInputError, match=message):
        PoseEstimator(write_model(tmp_path / "model", **FOLDER), **options)


@pytest.mark.parametrize("detector", [None, "person-detector"])
def test_no_detector_or_the_default_one_is_no_error(make, detector):
    assert len(make(Crowd(crowd(1, (300, 200)), (300, 200)), detector=detector)(picture_of((300, 200)))) == 1


def test_boxes_are_refused(make):
    estimator = make(Crowd(crowd(1, (300, 200)), (300, 200)))
    message = "fake-crowd is a bottom-up model: it looks at the whole picture.*takes no boxes. Leave boxes out"
    with pytest.raises(InvalidInputError, match=message):
        estimator(picture_of((300, 200)), boxes=[[0, 0, 100, 100]])
    with pytest.raises(InvalidInputError, match=message):
        estimator.batch([picture_of((300, 200))] * 2, [None, []])


def test_scales_are_refused_by_a_top_down_model(monkeypatch, tmp_path):
    monkeypatch.setattr(runtimes, "load", lambda *_: FakePose())
    with pytest.raises(InvalidInputError, match="scales are for bottom-up models.*fake-pose is top-down.*Leave scales"):
        PoseEstimator(write_model(tmp_path / "pose"), detector=None, scales=(0.5, 1))


BROKEN = {
    "another decoder": (
        {"decoder": {"method": "soft-argmax", "beta": 160.0}},
        "does not: method, beta; accepted: max_pe",
    ),
    "one output": ({"outputs": FOLDER["outputs"][:1]}, "outputs of 34 and 17 channels"),
    "outputs exchanged": ({"outputs": FOLDER["outputs"][::-1]}, r"got .* and \[17, 34\]"),
    "an oblong input": ({"input_size": [128, 96]}, "square input"),
    "an unknown skeleton": ({"skeleton": "hand-21"}, "skeleton 'hand-21'; known: coco-17"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_card_of_another_network_is_a_broken_model(make, change, message):
    with pytest.raises(ModelFileError, match=message):
        make(None, card=change)


def test_a_broken_networks_output_is_an_error(make):
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        make(Crowd(crowd(1, (300, 200)), (300, 200), heights=np.nan))(picture_of((300, 200)))
