import pytest

from mmcert.errors import ConfigError
from mmcert.reporting.rays import find_ray

NAMES = ("rgb", "depth")
SQUARE = [(a, b) for a in range(0, 9, 2) for b in range(0, 17, 2)]


def test_the_ray_that_was_asked_for_holds_its_budgets_in_order():
    ray = find_ray(SQUARE, NAMES, {"rgb": 1, "depth": 2})
    assert ray.budgets == ((0, 0), (2, 4), (4, 8), (6, 12), (8, 16))
    assert ray.text == "r_depth = 2 r_rgb"


def test_a_list_of_budgets_along_a_line_is_found_without_asking():
    ray = find_ray([(0, 0), (5, 10), (10, 20)], NAMES)
    assert ray.direction == (1, 2)


def test_without_asking_the_ray_goes_to_the_far_corner_of_the_grid():
    assert find_ray(SQUARE, NAMES).direction == (1, 2)


def test_the_inverse_ratio_is_written_as_a_fraction():
    ray = find_ray([(0, 0), (4, 2)], NAMES, {"rgb": 2, "depth": 1})
    assert ray.text == "r_depth = 1/2 r_rgb"


def test_a_ray_that_attacks_one_modality_is_possible():
    ray = find_ray(SQUARE, NAMES, {"depth": 1})
    assert ray.axis == 1
    assert ray.steps == list(range(0, 17, 2))


def test_a_ray_without_budgets_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="no evaluated budget lies on it"):
        find_ray(SQUARE, NAMES, {"rgb": 100, "depth": 1})


@pytest.mark.parametrize("wanted", [{"lidar": 1}, {"rgb": 0}, {"rgb": -1}, {"rgb": 1.5}])
def test_a_ray_that_makes_no_sense_is_refused(wanted):
    with pytest.raises(ConfigError, match="ray"):
        find_ray(SQUARE, NAMES, wanted)


def test_a_grid_of_the_zero_budget_alone_still_has_a_ray():
    assert find_ray([(0, 0)], NAMES).budgets == ((0, 0),)
