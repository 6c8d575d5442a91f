import numpy as np
import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.sampling.subsets import draw_subsets
from mmcert.sampling.training import training_masks
from mmcert.theory.schemes import (
    AlignedSubsampling,
    IndependentSubsampling,
    PooledSubsampling,
)

N = {"rgb": 300, "depth": 300}
K = {"rgb": 40, "depth": 10}
IDS = ["a", "b", "c", "d"]
FACTORS = [0.0, 0.5, 1.0, 2.5]


def masks(scheme, *, step=3, rank=0, ids=IDS, factors=FACTORS):
    return training_masks(scheme, seed=1, sample_ids=ids, step=step, factors=factors, rank=rank)


def test_each_sample_retains_its_own_multiple_of_k():
    drawn = masks(IndependentSubsampling.from_counts(N, K))
    assert drawn["rgb"].dtype == torch.bool
    assert drawn["rgb"].sum(1).tolist() == [0, 20, 40, 100]
    assert drawn["depth"].sum(1).tolist() == [0, 5, 10, 25]


def test_the_pool_retains_its_total_and_the_aligned_mask_is_shared():
    pooled = masks(PooledSubsampling.from_counts(N, K))
    assert (pooled["rgb"].sum(1) + pooled["depth"].sum(1)).tolist() == [0, 25, 50, 125]
    aligned = masks(AlignedSubsampling.from_counts(N, K))
    assert torch.equal(aligned["rgb"], aligned["depth"])
    assert aligned["rgb"].sum(1).tolist() == [0, 12, 25, 62]


def test_no_more_than_all_elements_are_retained():
    drawn = masks(IndependentSubsampling.from_counts(N, K), factors=[100.0] * 4)
    assert drawn["rgb"].all()
    assert drawn["depth"].all()


def test_steps_ranks_and_samples_draw_differently():
    scheme = IndependentSubsampling.from_counts(N, K)
    ones = [1.0] * 4
    drawn = [
        masks(scheme, factors=ones),
        masks(scheme, factors=ones, step=4),
        masks(scheme, factors=ones, rank=1),
    ]
    rows = {row.numpy().tobytes() for batch in drawn for row in batch["rgb"]}
    assert len(rows) == 12


def test_training_never_sees_a_test_draw():
    scheme = IndependentSubsampling.from_counts(N, K)
    test = draw_subsets(scheme, seed=1, sample_id="a", stream="test", draws=range(100))
    seen = {row.numpy().tobytes() for row in test["rgb"].mask}
    for step in range(100):
        row = masks(scheme, ids=["a"], factors=[1.0], step=step)["rgb"][0]
        assert row.numpy().tobytes() not in seen


def test_a_samples_mask_does_not_depend_on_its_batch():
    scheme = IndependentSubsampling.from_counts(N, K)
    whole = masks(scheme)
    for b, (name, factor) in enumerate(zip(IDS, FACTORS, strict=True)):
        alone = masks(scheme, ids=[name], factors=[factor])
        assert torch.equal(alone["rgb"][0], whole["rgb"][b])


def test_training_masks_are_pinned_by_golden_values():
    scheme = IndependentSubsampling.from_counts({"rgb": 12, "depth": 12}, {"rgb": 5, "depth": 2})
    drawn = training_masks(
        scheme, seed=3, sample_ids=["a", "b"], step=17, factors=[1.0, 0.5], rank=1
    )
    found = {name: [np.flatnonzero(row).tolist() for row in m] for name, m in drawn.items()}
    assert found == {"rgb": [[5, 7, 8, 9, 10], [5, 8]], "depth": [[3, 7], [10]]}


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_bad_factor_is_refused(factor):
    with pytest.raises(ConfigError, match="factor"):
        masks(IndependentSubsampling.from_counts(N, K), factors=[factor] * 4)


def test_a_bad_step_rank_or_length_is_refused():
    scheme = IndependentSubsampling.from_counts(N, K)
    with pytest.raises(ConfigError, match="step"):
        masks(scheme, step=-1)
    with pytest.raises(ConfigError, match="rank"):
        masks(scheme, rank=-1)
    with pytest.raises(ConfigError, match="factors"):
        masks(scheme, factors=[1.0])
