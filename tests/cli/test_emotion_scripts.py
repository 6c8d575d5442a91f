"""The scripts behind the figures of emotions: folds, areas, and where the pool is ahead."""

import runpy
from pathlib import Path

import pytest

import mmcert

ROOT = Path(mmcert.__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folds():
    return runpy.run_path(str(ROOT / "scripts" / "leave_two_actors_out.py"))


@pytest.fixture(scope="module")
def faces():
    return runpy.run_path(str(ROOT / "scripts" / "compare_talking_faces.py"))


def test_every_actor_is_tested_once_beside_one_of_the_other_sex(folds):
    pairs = folds["pairs"]([1, 2, 3, 4, 5, 6, 7, 8])
    assert pairs == [(1, 2), (3, 4), (5, 6), (7, 8)]


def test_a_range_over_folds_is_that_of_the_folds_and_rounded_down(folds):
    def fold(unablated, ensemble):
        values = {"ensemble": ensemble, **{f"r={r}": 0.1 for r in folds["BUDGETS"]}}
        return {"unablated": unablated, "k=9": values}

    table = folds["markdown"]([fold(0.5, 0.299), fold(0.6, 0.5)], [9])
    assert "| all | 0.55 (0.50 to 0.60) |" in table
    assert "| 9 | 0.39 (0.29 to 0.50) |" in table


def test_the_area_is_that_under_the_straight_lines_between_budgets(faces):
    ray = [(0, 0), (1, 4), (2, 8)]
    certified = {(0, 0): 1.0, (1, 4): 0.5, (2, 8): 0.0, (8, 2): 1.0}
    assert faces["area"](certified, ray) == 1.0


def test_the_table_shows_where_the_pool_is_ahead_and_by_how_much_it_is_behind(faces):
    shared = {}
    for (video, audio), ray in faces["rays"]().items():
        ours, pooled = [0.8] * len(ray), [0.4] * len(ray)
        if (video, audio) == (1, 4):
            pooled[1] = 0.9
        shared[f"{video}:{audio}"] = {
            "mmcert": {"k": [2, 4], "area": 3.0, "certified": ours},
            "randomized_ablation": {"k": [3, 3], "area": 2.0, "certified": pooled},
        }
    certified = {f"{r},{r}": 0.7 for r in range(17)}
    fixed = {
        "training_seconds": 90.0,
        "certification_seconds": 30.0,
        "ensemble": 0.95,
        "certified": certified,
    }
    table = faces["markdown"]([{"seed": 0, "fixed": fixed, "shared": shared}])
    assert "| 1:4 | 0 | (2, 4) | 6 | 3.00 | 2.00 | +50% | (1, 4) |" in table
    assert "| 4:1 | 0 | (2, 4) | 6 | 3.00 | 2.00 | +50% | none |" in table
