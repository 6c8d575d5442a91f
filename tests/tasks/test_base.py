"""Training ablates afresh; validation ablates exactly as certification will."""

import math

import pytest
import torch

from mmcert.errors import ConfigError, DataError
from mmcert.tasks.augmentation import ShuffleWithinClass, build_augmentations
from mmcert.tasks.optimization import Optimization
from mmcert.tasks.registry import build_task
from mmcert.theory.schemes import make_scheme

K = {"image": 6, "audio": 3}


class Recorder(torch.nn.Module):
    """A linear net that remembers the masks it was given."""

    def __init__(self, segmentation=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.masks = []
        self.segmentation = segmentation

    def forward(self, inputs, masks):
        self.masks.append(masks)
        rows = len(masks["image"])
        grid = inputs["image"].shape[-2:] if self.segmentation else ()
        return self.weight.reshape(1, 2, *[1] * len(grid)).expand(rows, 2, *grid)


def count(inputs):
    return {"image": inputs["image"][0].numel(), "audio": inputs["audio"].shape[0]}


def task(name="classification", scheme="mmcert", net=None, **options):
    made = build_task(
        name,
        net or Recorder(name == "segmentation"),
        options=options,
        scheme_for=lambda n: make_scheme(scheme, n, k=K),
        count_elements=count,
        classes=2,
        seed=0,
        record={},
    )
    made.log = lambda *args, **kwargs: None
    return made


def batch(sizes=((4, 10),) * 3, segmentation=False):
    items = [
        {
            "image": torch.rand(1, *size),
            "audio": torch.rand(8, 2),
            "target": torch.zeros(size, dtype=torch.int64) if segmentation else torch.tensor(1),
        }
        for size in sizes
    ]
    joined = torch.stack if len(set(sizes)) == 1 else list
    return {
        "id": [f"s{i}" for i in range(len(items))],
        "inputs": {m: joined([item[m] for item in items]) for m in ("image", "audio")},
        "target": joined([item["target"] for item in items]),
    }


class Trainer:
    """What Lightning's trainer tells a module."""

    def __init__(self, rank=0, step=0):
        self.global_step, self.global_rank = step, rank
        self.strategy = self


def masks_of(module, stage="train", rank=0, step=0, data=None):
    module._trainer = Trainer(rank, step)
    getattr(module, "training_step" if stage == "train" else "validation_step")(data or batch(), 0)
    return module.net.masks[-1]


def test_every_step_draws_anew():
    module = task(retained_factor=[1, 1])
    first, second = masks_of(module, step=0), masks_of(module, step=1)
    assert first["image"].sum(1).tolist() == second["image"].sum(1).tolist() == [6, 6, 6]
    assert not torch.equal(first["image"], second["image"])


def test_samples_and_their_ablations_differ_within_a_batch():
    masks = masks_of(task(retained_factor=[1, 1], ablations=4))["image"]
    assert masks.shape == (12, 40)
    assert len(masks.unique(dim=0)) == 12


def test_processes_draw_different_subsets():
    module = task(retained_factor=[1, 1])
    one, two = masks_of(module, rank=0), masks_of(module, rank=1)
    assert not torch.equal(one["image"], two["image"])


def test_training_counts_cover_the_counts_of_certification():
    torch.manual_seed(0)
    masks = masks_of(task(retained_factor=[0.5, 2.0], ablations=200))
    kept = masks["image"].sum(1)
    assert kept.min() == 3
    assert kept.max() == 12
    # log-uniform: as many below the test count as above it
    assert abs(float((kept < 6).float().mean() - (kept > 6).float().mean())) < 0.15
    assert masks["audio"].sum(1).unique().tolist() == [2, 3, 4, 5, 6]


def test_pooled_training_splits_the_counts_by_chance():
    masks = masks_of(task(scheme="randomized_ablation", retained_factor=[1, 1], ablations=50))
    kept = masks["image"].sum(1) + masks["audio"].sum(1)
    assert kept.unique().tolist() == [9]
    assert len(masks["audio"].sum(1).unique()) > 1


@pytest.mark.parametrize("training_mode", [True, False])
def test_validation_retains_exactly_the_counts_of_certification(training_mode):
    module = task(retained_factor=[0.5, 2.0], validation_draws=5).train(training_mode)
    first = masks_of(module, "val")
    assert first["image"].sum(1).unique().tolist() == [6]
    assert first["audio"].sum(1).unique().tolist() == [3]
    assert len(first["image"].unique(dim=0)) == 15
    again = masks_of(module, "val", step=7)
    assert torch.equal(first["image"], again["image"])


def test_samples_of_differing_size_are_ablated_by_their_own_counts():
    module = task("segmentation", retained_factor=[1, 1], augment={})
    masks_of(module, data=batch(((4, 10), (5, 9), (4, 10)), segmentation=True))
    shapes = [tuple(masks["image"].shape) for masks in module.net.masks]
    assert shapes == [(2, 40), (1, 45)]


def test_the_loss_of_groups_is_the_mean_over_samples():
    net = Recorder(segmentation=True)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([1.0, -1.0]))
    module = task("segmentation", net=net)
    module._trainer = Trainer()
    mixed = batch(((4, 10), (5, 9), (4, 10)), segmentation=True)
    mixed["target"][1] = torch.ones_like(mixed["target"][1])
    loss = module.training_step(mixed, 0)
    zero, one = torch.nn.functional.cross_entropy(
        torch.tensor([[1.0, -1.0]] * 2), torch.tensor([0, 1]), reduction="none"
    )
    assert loss.item() == pytest.approx(float((2 * zero + one) / 3))


def test_a_sample_without_a_target_is_named():
    module = task()
    module._trainer = Trainer()
    with pytest.raises(DataError, match="sample 's0' has no target"):
        module.training_step(batch() | {"target": None}, 0)


def test_logits_of_another_task_are_refused():
    module = task("segmentation", net=Recorder(segmentation=False))
    module._trainer = Trainer()
    with pytest.raises(ConfigError, match="needs logits"):
        module.training_step(batch(segmentation=True), 0)


@pytest.mark.parametrize("factors", [[1.1, 2], [0.5, 0.9], [0, 1], [-1, 2]])
def test_a_range_that_misses_the_test_counts_is_refused(factors):
    with pytest.raises(ConfigError, match="cover the counts of certification"):
        task(retained_factor=factors)


def test_exchanged_recordings_keep_their_label():
    torch.manual_seed(0)
    targets = torch.tensor([0, 1, 0, 1, 2, 0, 1, 0])
    audio = targets[:, None] * 100 + torch.arange(8)[:, None]
    inputs, same = ShuffleWithinClass()({"audio": audio}, targets)
    assert torch.equal(same, targets)
    assert torch.equal(inputs["audio"][:, 0] // 100, targets)
    assert sorted(inputs["audio"][:, 0].tolist()) == sorted(audio[:, 0].tolist())
    assert not torch.equal(inputs["audio"], audio)


def test_pictures_and_their_targets_are_mirrored_together():
    chain = build_augmentations({"mirror": {"probability": 1.0}, "lighting": None})
    rgb = torch.rand(2, 3, 4, 6)
    inputs, targets = chain({"rgb": rgb, "depth": rgb[:, :1]}, (rgb[:, 0] > 0.5).long())
    assert torch.equal(inputs["rgb"], rgb.flip(-1))
    assert torch.equal(targets, (inputs["depth"][:, 0] > 0.5).long())


def test_augmentations_keep_shapes_and_ranges():
    chain = build_augmentations({"affine_image": {}, "waveform": {}, "lighting": {}})
    given = {
        "image": torch.rand(3, 1, 28, 28),
        "audio": torch.rand(3, 50, 160) - 0.5,
        "rgb": torch.rand(3, 3, 8, 8),
    }
    inputs, _ = chain(given, torch.zeros(3))
    assert {m: x.shape for m, x in inputs.items()} == {m: x.shape for m, x in given.items()}
    assert inputs["image"].min() >= 0
    assert inputs["image"].max() <= 1 + 1e-5
    assert inputs["rgb"].max() <= 1


def test_the_camera_is_mirrored_with_its_picture():
    chain = build_augmentations({"mirror": {"probability": 1.0}})
    inputs = {"rgb": torch.rand(1, 3, 4, 6), "camera": torch.tensor([[7.0, 8.0, 2.0, 1.0]])}
    mirrored, _ = chain(inputs, torch.zeros(1, 4, 6, dtype=torch.int64))
    assert mirrored["camera"].tolist() == [[7.0, 8.0, 3.0, 1.0]]
    chain = build_augmentations({"mirror": {"probability": 0.0}})
    unturned, _ = chain(inputs, torch.zeros(1, 4, 6, dtype=torch.int64))
    assert torch.equal(unturned["camera"], inputs["camera"])


def test_each_sample_keeps_its_camera_in_groups_of_equal_size():
    seen = []

    class Looker(Recorder):
        def forward(self, inputs, masks):
            seen.append(inputs["camera"][:, 2].tolist())
            return super().forward(inputs, masks)

    module = task("segmentation", net=Looker(segmentation=True), augment={})
    module._trainer = Trainer()
    data = batch(((4, 10), (5, 9), (4, 10)), segmentation=True)
    data["meta"] = [{"camera": {"fx": 9, "fy": 9, "u0": b, "v0": 2}} for b in range(3)]
    module.training_step(data, 0)
    assert seen == [[0.0, 2.0], [1.0]]


def test_published_counts_are_a_uniform_ratio_for_each_modality():
    torch.manual_seed(0)
    module = task(retained_ratio=[0, 0.5], ablations=300)
    masks = masks_of(module)
    image, audio = masks["image"].sum(1).double(), masks["audio"].sum(1).double()
    assert 0 <= image.min() <= 1
    assert 18 <= image.max() < 20  # of 40
    assert abs(float(image.mean()) - 9.5) < 0.6
    assert sorted(audio.unique().tolist()) == [0, 1, 2, 3]  # of 8
    assert abs(float(torch.corrcoef(torch.stack((image, audio)))[0, 1])) < 0.15
    # a pool has one ratio for all of its modalities
    pooled = masks_of(task(scheme="randomized_ablation", retained_ratio=[0, 0.5], ablations=300))
    kept = torch.stack([pooled[name].sum(1).double() for name in ("image", "audio")])
    assert float(torch.corrcoef(kept)[0, 1]) > 0.5


def test_the_published_optimizer_decays_everything_and_steps_by_epochs():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    built = Optimization("sgd", 1e-3, 5e-4, 0.9, "step", 25, 0.9).build(net, 100)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    assert built["lr_scheduler"]["interval"] == "epoch"
    assert len(optimizer.param_groups) == 1
    assert optimizer.defaults["weight_decay"] == 5e-4
    rates = []
    for _ in range(51):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[24] == pytest.approx(1e-3)
    assert rates[25] == pytest.approx(9e-4)
    assert rates[50] == pytest.approx(8.1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "lion"},
        {"schedule": "warm"},
        {"lr": 0},
        {"momentum": 1.0},
        {"retained_ratio": [0.1, 0.1]},
        {"retained_ratio": [0, 1.2]},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"task.{next(iter(options))}"):
        task(**options)


def test_a_zoomed_road_is_the_road_that_the_zoomed_camera_sees():
    torch.manual_seed(0)
    height, width, camera_height = 120, 200, 1.6
    camera = torch.tensor([[150.0, 140.0, 103.0, 41.0]])
    v = torch.arange(height, dtype=torch.float32)[:, None] - camera[0, 3]
    depth = (camera_height * camera[0, 1] / v.clamp(min=0.5)).expand(height, width)
    depth = torch.where(v > 4, depth, 0.0)[None, None].repeat(8, 1, 1, 1)
    rgb = depth.expand(8, 3, height, width) / 100
    chain = build_augmentations({"zoom": {"largest": 2.0}})
    inputs, targets = chain(
        {"rgb": rgb, "depth": depth, "camera": camera.repeat(8, 1)}, (depth[:, 0] > 0).long()
    )
    assert torch.equal(targets, (inputs["depth"][:, 0] > 0).long())
    assert len(inputs["camera"].unique(dim=0)) == 8
    for zoomed, (fx, fy, _, v0) in zip(inputs["depth"][:, 0], inputs["camera"], strict=True):
        assert fx / fy == pytest.approx(150 / 140)
        rows = torch.arange(height, dtype=torch.float32)[:, None] - v0
        expected = camera_height * fy / rows
        seen = zoomed > 0
        # Nearest pixels: right to half a row of the original, fy / 140 rows of the enlarged one.
        off = (camera_height * fy / zoomed - rows)[seen].abs()
        assert off.max() <= 0.5 * fy / 140 + 1e-3
        assert torch.allclose(zoomed[seen], expected.expand_as(zoomed)[seen], rtol=0.15)


def test_modality_dropout_shows_each_sample_scaled_and_without_each_modality():
    torch.manual_seed(0)
    given = {"video": torch.rand(3, 4, 2) + 1, "audio": torch.rand(3, 5) + 1}
    inputs, targets = build_augmentations({"modality_dropout": {}})(given, torch.arange(3))
    assert targets.tolist() == [0, 1, 2] * 4
    for name, x in given.items():
        assert torch.equal(inputs[name][:3], x)
    shares = {name: inputs[name][3:6] / x for name, x in given.items()}
    assert torch.allclose(shares["video"][:, 0, 0] + shares["audio"][:, 0], torch.ones(3))
    assert shares["audio"].std(1).max() < 1e-6
    assert not inputs["video"][6:9].any()
    assert torch.equal(inputs["audio"][6:9], given["audio"])
    assert not inputs["audio"][9:].any()


def test_versions_of_a_sample_are_ablated_by_draws_of_their_own():
    class Growing(Recorder):
        def forward(self, inputs, masks):
            assert len(inputs["image"]) * 2 == len(masks["image"])
            return super().forward(inputs, masks)

    module = task(
        net=Growing(),
        retained_factor=[1, 1],
        ablations=2,
        augment={"modality_dropout": {"modalities": ["image", "audio"]}},
    )
    assert len(masks_of(module)["image"].unique(dim=0)) == 3 * 4 * 2


def test_the_published_emotion_schedule_divides_at_its_milestones():
    net = torch.nn.Linear(2, 2)
    chosen = Optimization(
        "sgd", 0.04, 1e-3, 0.9, "milestones", step_factor=0.1, dampening=0.9, milestones=(2, 3)
    )
    built = chosen.build(net, 100)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    assert built["lr_scheduler"]["interval"] == "epoch"
    assert optimizer.defaults["dampening"] == 0.9
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.04, 0.04, 0.004, 0.0004])
    with pytest.raises(ConfigError, match=r"task\.milestones"):
        Optimization(schedule="milestones")


def test_a_batch_without_a_labelled_pixel_costs_nothing_and_spoils_nothing():
    """The mean over no pixel is NaN: one such batch would be the loss of the whole epoch."""
    module = task("segmentation")
    module._trainer = Trainer()
    logged = []
    module.log = lambda name, value, **options: logged.append((float(value), options["batch_size"]))
    data = batch(segmentation=True)
    data["target"] = torch.full_like(data["target"], 255)
    loss = module.training_step(data, 0)
    assert loss.requires_grad
    assert float(loss.detach()) == 0
    assert logged == [(0.0, 0)]


def test_a_sample_without_a_labelled_pixel_leaves_the_loss_to_the_others():
    module = task("segmentation")
    module._trainer = Trainer()
    data = batch(((4, 10), (5, 9)), segmentation=True)
    data["target"][1][:] = 255
    loss = module.training_step(data, 0)
    assert float(loss) == pytest.approx(math.log(2))
