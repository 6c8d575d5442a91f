"""One process's loop: the same votes however the work is cut, and nothing that makes it wait."""

import pickle
import random
import threading
import time

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmcert.errors import DataError, MmcertError
from mmcert.models.rgbd_fusion import RGBDFusion
from mmcert.models.roadseg import RoadSeg
from mmcert.records.votes import VotesMeta, write_meta
from mmcert.sampling import distinct, streams
from mmcert.sampling.subsets import Subset
from mmcert.theory.modality import InputSpec
from mmcert.voting.ballot import draws_of_all
from mmcert.voting.counting import VoteCounter
from mmcert.voting.draws import make_sampler
from mmcert.voting.loop import Voter, vote_units
from mmcert.voting.plan import Segment, Unit, plan_units, share
from mmcert.voting.settings import SchemeSpec, VotingSettings
from mmcert.voting.store import VoteStore

SPEC = SchemeSpec("mmcert", k={"image": 9})
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Pictures:
    """Five pictures, read slowly; the last one can be broken."""

    classes = ("a", "b", "c")

    def __init__(self, broken=None, delay=0.0):
        self.inputs = {"image": InputSpec((None, 6), (0, 1), "pixel")}
        self.ids = tuple(f"s{i}" for i in range(5))
        self.broken, self.delay, self.read = broken, delay, []

    def __getitem__(self, index):
        self.read.append((index, threading.get_ident()))
        time.sleep(self.delay)
        if index == self.broken:
            raise DataError(f"sample '{self.ids[index]}' cannot be read.")
        make = torch.Generator().manual_seed(index)
        image = torch.rand(5, 6, generator=make)
        return {"id": self.ids[index], "inputs": {"image": image}, "target": None, "meta": {}}


class Sums:
    """Labels pixels by what is retained; remembers the subsets it saw."""

    default_block = 4

    def __init__(self):
        self.seen = []

    def prepare(self, sample):
        return sample["inputs"]["image"].flatten()

    def label(self, state, subsets):
        mask = subsets["image"].mask
        self.seen.append(mask)
        return (state * mask * 3).long().clamp(max=2).view(-1, 5, 6)


def voter_of(block=4, dataset=None, model=None):
    sampler = make_sampler("fixed", 3)
    return Voter(dataset or Pictures(), model or Sums(), SPEC, sampler=sampler, block=block)


def voted(folder, *, shares, block=4, seed=0):
    """The votes of all shares, one after the other, each share's units in an order of its own."""
    dataset, settings = Pictures(), VotingSettings(50, selection_draws=10, block=block)
    draws = draws_of_all(dataset.ids, settings)
    scheme = SPEC.for_sample(dataset[0], dataset.inputs)
    meta = VotesMeta("segmentation", "mmcert", scheme.modalities, 50, 3)
    write_meta(folder, meta)
    store = VoteStore(folder, meta, "print", draws)
    units = plan_units(dataset.ids, {}, draws=draws, block=block, length=3 * block)
    for rank in range(shares):
        mine = share(units, rank, shares)
        random.Random(seed + rank).shuffle(mine)
        vote_units(mine, voter_of(block, Pictures()), store, lambda draws: None)
    store.remove_partial()
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


def test_votes_are_the_same_for_1_2_3_and_4_shares_in_any_order(tmp_path):
    one = voted(tmp_path / "1", shares=1)
    assert len(one) == 5
    for shares in (2, 3, 4):
        assert voted(tmp_path / str(shares), shares=shares, seed=shares) == one


def test_blocks_of_1_7_and_32_draw_the_same_subsets():
    seen = {}
    for block in (1, 7, 32):
        model = Sums()
        voter_of(block, model=model).count(0, [Segment("test", 0, 64)], lambda draws: None)
        seen[block] = torch.cat(model.seen)[:64]
    assert torch.equal(seen[1], seen[7])
    assert torch.equal(seen[1], seen[32])


def test_the_next_sample_is_read_while_the_current_one_votes():
    dataset = Pictures()
    voter = voter_of(dataset=dataset)
    voter.expect_samples(range(5))
    voter.load(0)
    deadline = time.monotonic() + 10
    while len(dataset.read) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert [index for index, _ in dataset.read] == [0, 1], "one sample ahead, no more"


def test_every_sample_is_read_once_by_one_thread(tmp_path):
    dataset = Pictures(delay=0.002)
    voter = voter_of(dataset=dataset)
    voter.seconds_per_block(0)  # as the preview of the cost does
    units = [Unit(i, f"s{i}", (Segment("test", 0, 12),)) for i in range(5)]
    voter.expect_samples(range(5))
    voter.expect_draws(units)
    for unit in units:
        voter.load(unit.index)
        voter.count(unit.index, unit.segments, lambda draws: None)
    assert [index for index, _ in dataset.read] == [0, 1, 2, 3, 4]
    assert len({thread for _, thread in dataset.read}) == 1


def test_a_sample_that_cannot_be_read_stops_the_vote_at_its_turn(tmp_path):
    dataset = Pictures(broken=3)
    scheme = SPEC.for_sample(Pictures()[0], dataset.inputs)
    meta = VotesMeta("segmentation", "mmcert", scheme.modalities, 12, 3)
    write_meta(tmp_path, meta)
    draws = draws_of_all(dataset.ids, VotingSettings(12))
    store = VoteStore(tmp_path, meta, "print", draws)
    units = plan_units(dataset.ids, {}, draws=draws, block=4, length=12)
    with pytest.raises(DataError, match="s3"):
        vote_units(units, voter_of(dataset=dataset), store, lambda draws: None)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["s0", "s1", "s2"]


def test_a_base_model_that_refuses_a_sample_before_any_draw_names_it():
    class Refusing(Sums):
        def prepare(self, sample):
            raise MmcertError("too large.")

    with pytest.raises(MmcertError, match=r"sample 's0'.*too large"):
        voter_of(model=Refusing()).labels(0, "test", 0)


def test_a_plan_of_ten_thousand_samples_is_made_in_a_moment_and_small():
    ids = [f"um_{i:06d}" for i in range(10_000)]
    draws = draws_of_all(ids, VotingSettings(10_000))
    began = time.process_time()
    units = plan_units(ids, {}, draws=draws, block=1000, length=10_000)
    mine = share(units, 0, 2)
    assert time.process_time() - began < 2
    assert len(mine) == 5000
    assert len(pickle.dumps(units)) < 5 << 20


def test_a_draw_that_ran_out_of_candidates_is_never_counted(monkeypatch):
    monkeypatch.setattr(distinct, "enough_candidates", lambda n, k: k)
    keys = streams.draw_keys(np.array([5], np.uint64), np.arange(40))
    mask, _, complete = distinct.uniform_masks_torch(
        torch.from_numpy(keys.view(np.int64)), 30, np.full(40, 9)
    )
    assert not complete
    sampler = lambda *_: {"image": Subset(mask, complete=complete)}  # noqa: E731
    voter = Voter(Pictures(), Sums(), SPEC, sampler=sampler, block=40)
    with pytest.raises(DataError, match=r"'s0'.*more candidates"):
        voter.count(0, [Segment("test", 0, 40)], lambda draws: None)


class Questions(TorchDispatchMode):
    """Counts what would have the host wait for a GPU: values, and sizes that depend on values."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "item", "equal")

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        index = name in ("index", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if name in self.ASKING or index:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("k", [np.full(6, 40), np.full(6, 700), np.array([0, 1, 40, 500, 900, 3])])
def test_the_subsets_of_a_gpu_are_drawn_without_asking_the_host(k):
    keys = torch.from_numpy(streams.draw_keys(np.array([5], np.uint64), np.arange(6)).view("i8"))
    with Questions() as questions:
        distinct.uniform_masks_torch(keys, 1000, k)
    assert questions.asked == []


def frame(size=(32, 64)):
    camera = {"fx": 50.0, "fy": 50.0, "u0": 32.0, "v0": 10.0}
    inputs = {"rgb": torch.rand(3, *size), "depth": 2 + 40 * torch.rand(1, *size)}
    return {"id": "a", "inputs": inputs, "target": None, "meta": {"camera": camera}}


FRAMES = {
    "rgb": InputSpec((3, None, None), (1, 2), "pixel"),
    "depth": InputSpec((1, None, None), (1, 2), "pixel"),
}


def base_models():
    zero, dense = {"name": "zero"}, {"name": "interpolation", "inverse": True}
    small = {"grid": (8, 16), "widths": (8, 8, 8, 8)}
    yield RGBDFusion(FRAMES, 2, {"rgb": zero, "depth": {"name": "ground_height"}}, **small)
    yield RGBDFusion(FRAMES, 3, {"rgb": zero, "depth": dense}, second="normals", **small)
    yield RoadSeg(FRAMES, 2, {"rgb": zero, "depth": zero}, size=(32, 64))


def test_a_block_asks_the_host_once_whether_its_logits_are_finite():
    for model in base_models():
        model.eval()
        counter = VoteCounter(3, "a")
        with torch.no_grad():
            state = model.prepare(frame())
            masks = {name: torch.rand(4, 32 * 64) < 0.3 for name in FRAMES}
            with Questions() as questions:
                labels = model.label(state, {name: Subset(mask) for name, mask in masks.items()})
                counter.add(labels)
        # The camera lies on the host, where four numbers of it are read for each map.
        read = 4 * len(labels) if model._normals else 0
        assert len(questions.asked) - read == 1, (type(model).__name__, questions.asked)


@GPU
def test_a_block_on_a_gpu_asks_the_host_at_most_once():
    for model in base_models():
        model.eval().cuda()
        voter = Voter(
            Frames(), model, SchemeSpec("mmcert", k={"rgb": 40, "depth": 20}),
            sampler=make_sampler("fixed", 0), block=4, device="cuda",
        )  # fmt: skip
        voter.labels(0, "test", 0)
        counter = VoteCounter(2, "a")
        counter.add(voter.labels(0, "test", 4))
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with pytest.warns(UserWarning, match="synchroniz") as warned:
                counter.add(voter.labels(0, "test", 8))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert len([w for w in warned if "synchroniz" in str(w.message)]) == 1


class Frames:
    ids, classes, inputs = ("a",), ("other", "road"), FRAMES

    def __getitem__(self, index):
        return frame()
