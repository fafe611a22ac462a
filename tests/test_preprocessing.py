"""From boxes to network inputs and back: regions, matrices, crops and letterboxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilepose_sdk.preprocessing import (
    LONGEST_SIDE,
    PADDING,
    apply_affine,
    as_channels,
    crop_matrices,
    crop_regions,
    invert_affine,
    letterbox,
    warp_crops,
)

SIZE = (192, 256)


@st.composite
def boxes(draw, side=st.floats(1, 2000, width=32), place=st.floats(-500, 4000, width=32)):
    x, y, width, height = draw(place), draw(place), draw(side), draw(side)
    return np.array([[x, y, x + width, y + height]], dtype=np.float32)


def gradient(height: int, width: int) -> np.ndarray:
    """A picture whose first channel is x and second y, so that a crop tells where it was cut."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8)


def test_a_box_of_the_inputs_aspect_only_grows_by_the_padding():
    centres, sizes = crop_regions(np.array([[10, 20, 40, 60]]), SIZE)
    np.testing.assert_allclose(centres, [[25, 40]])
    np.testing.assert_allclose(sizes, [[30 * PADDING, 40 * PADDING]])


@pytest.mark.parametrize(
    ("box", "size"), [([0, 0, 30, 80], (60, 80)), ([0, 0, 90, 40], (90, 120))], ids=["tall", "wide"]
)
def test_the_side_that_is_short_for_the_aspect_is_widened(box, size):
    np.testing.assert_allclose(crop_regions(np.array([box]), SIZE, padding=1)[1], [size])


@given(boxes(), st.floats(1, 2))
def test_a_region_holds_its_box_and_has_the_inputs_aspect(box, padding):
    (centre,), (size,) = crop_regions(box, SIZE, padding)
    assert size[0] / size[1] == pytest.approx(SIZE[0] / SIZE[1], rel=1e-5)
    slack = 1e-3 * size.max() + 1e-3
    assert (centre - size / 2 <= box[0, :2] + slack).all()
    assert (centre + size / 2 >= box[0, 2:] - slack).all()


def test_no_boxes_have_no_regions_and_no_matrices():
    matrices = crop_matrices(*crop_regions(np.zeros((0, 4)), SIZE), SIZE)
    assert matrices.shape == (0, 2, 3)
    assert warp_crops(gradient(10, 10), matrices, SIZE).shape == (0, 256, 192, 3)


@given(boxes())
def test_the_centre_of_a_box_lies_at_half_the_input(box):
    centres, sizes = crop_regions(box, SIZE)
    placed = apply_affine(crop_matrices(centres, sizes, SIZE), centres[:, None])
    np.testing.assert_allclose(placed[0, 0], [96, 128], atol=0.3)


def test_a_regions_corners_are_the_inputs_corners():
    matrix = crop_matrices(np.array([[50, 60]]), np.array([[30, 40]]), SIZE)
    np.testing.assert_allclose(apply_affine(matrix, [[[35, 40], [65, 80]]])[0], [[0, 0], [192, 256]], atol=1e-4)


def test_a_quarter_turn_takes_what_is_below_the_centre_to_the_inputs_right_and_what_is_right_to_its_top():
    matrix = crop_matrices(np.array([[50, 60]]), np.array([[192, 256]]), SIZE, np.array([np.pi / 2]))
    np.testing.assert_allclose(apply_affine(matrix, [[[50, 70], [60, 60]]])[0], [[106, 128], [96, 118]], atol=1e-4)


@given(boxes(), st.floats(-np.pi, np.pi))
def test_the_inverse_takes_input_pixels_back_to_the_picture(box, rotation):
    matrices = crop_matrices(*crop_regions(box, SIZE), SIZE, np.array([rotation]))
    points = np.array([[[0, 0], [191, 255], [96, 128], [17.5, -3]]])
    back = apply_affine(matrices, apply_affine(invert_affine(matrices), points))
    np.testing.assert_allclose(back, points, atol=0.05 + 2e-6 * np.abs(matrices).max())


@given(st.lists(boxes(), min_size=1, max_size=4))
def test_each_point_goes_through_the_matrix_of_its_own_person(several):
    matrices = np.concatenate([crop_matrices(*crop_regions(box, SIZE), SIZE) for box in several])
    points = np.arange(len(several) * 6).reshape(-1, 3, 2)
    for person, mapped in enumerate(apply_affine(matrices, points)):
        np.testing.assert_array_equal(
            mapped, apply_affine(matrices[person : person + 1], points[person : person + 1])[0]
        )


def test_integer_coordinates_are_pixel_centres():
    """An unscaled crop holds the very pixels that the matrix says."""
    picture = gradient(200, 200)
    matrices = crop_matrices(np.array([[50.0, 60.0]]), np.array([[32.0, 40.0]]), (32, 40))
    crop = warp_crops(picture, matrices, (32, 40))[0]
    assert crop[0, 0].tolist() == [50 - 16, 60 - 20, 255]
    assert crop[20, 16].tolist() == [50, 60, 255]


def test_a_crop_shows_what_its_matrix_says():
    matrices = crop_matrices(*crop_regions(np.array([[40, 50, 100, 130]]), SIZE), SIZE)
    crop = warp_crops(gradient(200, 200), matrices, SIZE)[0]
    places = np.array([[[10, 10], [96, 128], [180, 200]]])
    for (x, y), (column, row) in zip(apply_affine(invert_affine(matrices), places)[0], places[0]):
        np.testing.assert_allclose(crop[row, column, :2], [x, y], atol=1)


def test_a_crop_is_black_where_it_leaves_the_picture():
    matrices = crop_matrices(*crop_regions(np.array([[-30, 10, 30, 90]]), SIZE, padding=1), SIZE)
    crop = warp_crops(gradient(100, 100), matrices, SIZE)[0]
    assert not crop[:, :90].any()
    assert (crop[:, 102:, 2] == 255).all()


@pytest.mark.parametrize("shape", [(40, LONGEST_SIDE + 10_000), (LONGEST_SIDE + 10_000, 40)], ids=["wide", "tall"])
def test_pictures_too_long_for_opencv_4_are_cropped_at_the_right_place(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    far = np.array([20, 20])
    far[np.argmax(shape[::-1])] = 40_000
    picture[far[1] - 8 : far[1] + 9, far[0] - 8 : far[0] + 9] = 255
    matrices = crop_matrices(far[None], np.array([[36, 48]]), SIZE)
    light = warp_crops(picture, matrices, SIZE)[0, :, :, 0].astype(float)
    y, x = np.mgrid[:256, :192]
    found = np.array([[[(x * light).sum(), (y * light).sum()]]]) / light.sum()
    np.testing.assert_allclose(apply_affine(invert_affine(matrices), found)[0, 0], far, atol=0.1)


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 700), height=st.integers(1, 700))
def test_a_letterbox_keeps_the_whole_picture_and_is_black_elsewhere(width, height):
    canvas, scale = letterbox(np.full((height, width, 3), 200, np.uint8), (64, 48))
    filled = np.rint(scale * (width, height)).astype(int)
    assert canvas.shape == (48, 64, 3)
    assert (canvas[: filled[1], : filled[0]] == 200).all()
    assert canvas.sum() == 200 * 3 * filled.prod()
    assert (filled >= 1).all()
    assert (filled == (64, 48)).any()


@pytest.mark.parametrize("shape", [(1, 10_000), (10_000, 1), (1, 1), (1, 3), (7, 2000), (1, 50_000)])
def test_a_letterbox_takes_any_shape(shape):
    canvas, scale = letterbox(np.full((*shape, 3), 9, np.uint8), (320, 320))
    width, height = np.rint(scale * shape[::-1]).astype(int)
    assert (canvas[:height, :width] == 9).all()
    assert canvas.sum() == 27 * width * height


def test_a_letterboxes_scale_takes_source_pixels_to_input_pixels():
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[60:120, 200:300] = 255
    canvas, scale = letterbox(picture, (200, 200))
    left, top, right, bottom = np.array([200, 60, 300, 120]) * np.tile(scale, 2)
    lit = np.argwhere(canvas[:, :, 0] > 127)
    np.testing.assert_allclose([*lit.min(axis=0), *(lit.max(axis=0) + 1)], [top, left, bottom, right], atol=1)


def test_a_letterbox_averages_where_it_shrinks():
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[::4] = 255  # a quarter of the rows: sampling would see all of them or none
    np.testing.assert_allclose(letterbox(picture, (100, 100))[0].astype(int), 64, atol=1)


@pytest.mark.parametrize("side", [75, 80, 99])
def test_a_letterbox_that_shrinks_little_leaves_no_row_out(side):
    for row in range(100):
        picture = np.zeros((100, 100, 3), np.uint8)
        picture[row] = 255
        assert letterbox(picture, (side, side))[0].max() >= 80


def test_channels_are_given_as_a_model_reads_them():
    picture = gradient(4, 5)
    assert as_channels(picture, "bgr") is picture
    np.testing.assert_array_equal(as_channels(picture, "rgb"), picture[:, :, ::-1])
    several = np.stack([picture, picture[::-1]])
    np.testing.assert_array_equal(as_channels(several, "rgb"), several[..., ::-1])
    np.testing.assert_array_equal(as_channels(several[:, 1:, ::2], "rgb"), several[:, 1:, ::2, ::-1])


def test_a_large_person_is_averaged_not_sampled():
    fine = np.indices((2000, 1500)).sum(axis=0) % 2 * np.uint8(255)  # a checkerboard of single pixels
    picture = np.repeat(fine[:, :, None], 3, axis=2).astype(np.uint8)
    matrix = crop_matrices(*crop_regions(np.array([[100, 100, 1400, 1900]]), (192, 256)), (192, 256))
    inner = warp_crops(picture, matrix, (192, 256))[0, 60:200, 50:140].astype(int)
    assert np.abs(inner - 127).max() <= 2


@pytest.mark.parametrize("shape", [(1600, 1600), (1001, 999), (1003, 1001)], ids=["even", "odd", "no multiple of four"])
def test_averaging_keeps_every_pixel_in_its_place(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    picture[792:809, 692:709] = 255  # centred on (700, 800)
    matrix = crop_matrices(*crop_regions(np.array([[200, 200, 1300, 1500]]), (192, 256)), (192, 256))
    crop = warp_crops(picture, matrix, (192, 256))[0, :, :, 0].astype(float)
    y, x = np.indices(crop.shape)
    centre = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    np.testing.assert_allclose(centre, apply_affine(matrix, np.array([[[700, 800]]]))[0, 0], atol=0.1)
