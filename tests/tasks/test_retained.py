"""Training for many counts at once: totals and splits vary, validation does not."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.sampling.training import varied
from mmcert.tasks.registry import build_task
from mmcert.tasks.retained import RetainedRange
from mmcert.theory.schemes import make_scheme

N = {"video": 108, "audio": 54}
K = {"video": 8, "audio": 4}


class Recorder(torch.nn.Module):
    """Remembers the masks it was given."""

    def __init__(self, auxiliary=()):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.auxiliary, self.masks = auxiliary, None

    def forward(self, inputs, masks):
        self.masks = masks
        logits = self.weight.expand(len(masks["video"]), 2)
        if not self.auxiliary:
            return logits
        return logits, [logits.detach() + torch.tensor(shift) for shift in self.auxiliary]


class Trainer:
    """What Lightning's trainer tells a module."""

    def __init__(self):
        self.global_step = self.global_rank = 0
        self.strategy = self


def task(scheme="mmcert", net=None, n=N, **options):
    module = build_task(
        "classification",
        net or Recorder(),
        options=options,
        scheme_for=lambda _: make_scheme(scheme, n, k=K),
        count_elements=lambda inputs: n,
        classes=2,
        seed=0,
        record={},
    )
    module.log = lambda *args, **kwargs: None
    module._trainer = Trainer()
    return module


def batch(size=4):
    return {
        "id": [f"s{i}" for i in range(size)],
        "inputs": {name: torch.rand(size, n) for name, n in N.items()},
        "target": torch.zeros(size, dtype=torch.int64),
    }


def kept(module, stage="training_step"):
    torch.manual_seed(0)
    getattr(module, stage)(batch(), 0)
    return [module.net.masks[name].sum(1) for name in N]


@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_totals_and_splits_vary_over_the_stated_range(scheme):
    video, audio = kept(task(scheme, retained={"range": [0.125, 2], "empty": 0.1}, ablations=400))
    assert video.unique().tolist() == list(range(17))  # an eighth to twice 8, or nothing
    assert audio.unique().tolist() == list(range(9))
    assert 0.07 < (video == 0).float().mean() < 0.13
    assert (video + audio).min() >= 1
    both = torch.stack((video, audio)).double()
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.1
    # log-uniform: as often below the geometric middle as above it
    drawn = video[video > 0]
    assert abs(float((drawn < 4).float().mean() - (drawn > 4).float().mean())) < 0.15


@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_validation_keeps_the_counts_of_certification(scheme):
    module = task(scheme, retained={"range": [0.125, 2], "empty": 0.1}, validation_draws=9)
    video, audio = kept(module, "validation_step")
    assert (video + audio).unique().tolist() == [12]
    if scheme == "mmcert":
        assert video.unique().tolist() == [8]


def test_without_a_range_all_modalities_share_one_factor():
    video, audio = kept(task(retained=None, retained_factor=[0.5, 2], ablations=100))
    assert float(torch.corrcoef(torch.stack((video, audio)).double())[0, 1]) > 0.9


def test_a_shared_mask_stays_shared():
    n = {"rgb": 60, "depth": 60}
    scheme = make_scheme("randomized_ablation_aligned", n, k={"rgb": 10, "depth": 10})
    other = varied(scheme, {"rgb": 0.5, "depth": 2.0})
    assert other.name == scheme.name
    assert [m.k for m in other.modalities] == [20, 20]


def test_never_all_modalities_are_empty():
    torch.manual_seed(0)
    chosen = RetainedRange(1.0, 1.0, 0.9)
    drawn = [chosen.factors(["video", "audio"]) for _ in range(200)]
    assert all(any(factors.values()) for factors in drawn)
    assert any(not factors["video"] for factors in drawn)


@pytest.mark.parametrize(
    "section",
    [{"range": [1.5, 2]}, {"range": [0, 2]}, {"empty": 1.0}, {"empty": -0.1}, {"share": 0.1}],
)
def test_a_range_that_makes_no_sense_is_refused(section):
    with pytest.raises(ConfigError, match=r"task\.retained"):
        task(retained=section)
    with pytest.raises(ConfigError, match="only one of"):
        task(retained={}, retained_ratio=[0, 0.5])


def test_auxiliary_heads_add_their_share_to_the_loss():
    plain = task().training_step(batch(), 0).detach()
    shifts = ([1.0, 0.0], [0.0, 2.0])
    with_heads = task(net=Recorder(shifts), auxiliary_weight=0.5).training_step(batch(), 0).detach()
    extra = sum(
        torch.nn.functional.cross_entropy(torch.tensor([shift]), torch.tensor([0]))
        for shift in shifts
    )
    assert float(with_heads) == pytest.approx(float(plain + 0.5 * extra))
