"""Run directories over made-up roads, with votes that a made-up base model would cast."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcert.certification.evaluate import evaluate
from mmcert.records.meta import VotesMeta, write_meta
from mmcert.records.run import RunDescription, write_run
from mmcert.records.votes import SampleVotes, write_sample
from mmcert.theory.schemes import make_scheme

SIZE = (24, 80)
ELEMENTS = {"rgb": "pixel (all channels)", "depth": "pixel of the depth map"}
K = {"rgb": 180, "depth": 40}
SKILL = {"mmcert": 0.02, "randomized_ablation": 0.028, "randomized_ablation_aligned": 0.03}
GRID = [{"rgb": r1, "depth": r2} for r1 in range(7) for r2 in range(0, 11, 2)]


def road(size=SIZE, shift=0.0):
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    spread = np.clip((rows - 0.4 * height) / height, 0, None) * width * 0.8
    return (np.abs(columns - width * (0.5 + shift)) < spread).astype(np.uint8)


def segmentation_votes(truth, scheme, draws, rng):
    """Votes for the true class: near certain inside a region, near a toss-up at its border."""
    inner = np.ones(truth.shape)
    for axis in (0, 1):
        for step in (-1, 1):
            inner *= np.roll(truth, step, axis) == truth
    wrong = np.where(inner > 0, rng.exponential(SKILL[scheme], truth.shape), 0.45)
    right = rng.binomial(draws, 1 - np.clip(wrong, 0, 0.7)).astype(np.int64)
    counts = np.empty((2, *truth.shape), np.int64)
    np.put_along_axis(counts, truth[None].astype(np.int64), right[None], 0)
    np.put_along_axis(counts, 1 - truth[None].astype(np.int64), draws - right[None], 0)
    return counts


def write_segmentation_run(
    folder,
    scheme="mmcert",
    *,
    ids=("um_000001", "um_000002", "uu_000003"),
    draws=500,
    alpha=0.001,
    seed=0,
    k=K,
    grid=GRID,
    statistics=("holm", "closed_evalues"),
    data_root=None,
    size=SIZE,
    elements=ELEMENTS,
    kinds="modification",
    data_seed=0,
    labelled=True,
):
    n = dict.fromkeys(k, size[0] * size[1])
    made = make_scheme(scheme, n, k=k, elements=elements)
    meta = VotesMeta("segmentation", scheme, made.modalities, draws, 2, ("background", "road"))
    rng = np.random.default_rng(seed)
    samples = []
    for index, sample_id in enumerate(ids):
        truth = road(size, shift=0.08 * ((index + data_seed) % 5 - 2))
        counts = segmentation_votes(truth, scheme, draws, rng)
        target = truth if labelled else None
        samples.append(SampleVotes(sample_id, counts, target, draws, made))
    options = {name: {} for name in statistics}
    return _write(folder, samples, meta, grid, kinds, options, alpha, data_root, seed)


def write_classification_run(
    folder,
    scheme="mmcert",
    *,
    samples=40,
    draws=1000,
    seed=0,
    statistics=("binomial", "margin"),
    class_names=(),
):
    n, k = {"image": 784, "audio": 50}, {"image": 60, "audio": 5}
    made = make_scheme(scheme, n, k=k, elements={"image": "pixel", "audio": "chunk of 160 samples"})
    meta = VotesMeta("classification", scheme, made.modalities, draws, 10, class_names)
    rng = np.random.default_rng(seed)
    votes = []
    for index in range(samples):
        target = index % 10
        share = np.full(10, (1 - (right := rng.beta(9, 1.5))) / 9)
        share[target] = right
        counts = rng.multinomial(draws, share / share.sum())
        votes.append(SampleVotes(f"clip_{index:03d}", counts, np.array(target), draws, made))
    grid = [{"image": r1, "audio": r2} for r1 in range(0, 9, 2) for r2 in range(3)]
    options = {name: {} for name in statistics}
    return _write(folder, votes, meta, grid, "modification", options, 0.001, None, seed)


def _write(folder, samples, meta, grid, kinds, statistics, alpha, data_root, seed):
    folder = Path(folder)
    write_meta(folder / "votes", meta)
    for sample in samples:
        write_sample(folder / "votes", sample, meta)
    evaluate(
        samples, meta, budgets=grid, kinds=kinds, statistics=statistics, alpha=alpha, out=folder
    )
    write_run(
        folder,
        RunDescription(
            command="certify",
            task=meta.task,
            scheme=meta.scheme,
            elements={m.name: m.element for m in meta.modalities},
            precision="fp32",
            seeds={"voting": seed},
            versions={"mmcert": "0.1.0"},
            timings={"voting": 75.2, "certification": 0.4},
            draws_per_second=132.9,
        ),
    )
    root = "" if data_root is None else f"  root: {data_root}\n"
    (folder / "config.yaml").write_text(f"data:\n  name: made_up\n  split: test\n{root}")
    return folder


def write_inputs(root, ids=("um_000001", "um_000002", "uu_000003")):
    """Images and depth maps of the made-up roads, in the flat layout."""
    rng = np.random.default_rng(5)
    for folder in ("image_2", "depth_u16"):
        (Path(root) / folder).mkdir(parents=True, exist_ok=True)
    for index, sample_id in enumerate(ids):
        truth = road(shift=0.08 * (index % 5 - 2))
        grey = 90 + 60 * truth[..., None] + rng.integers(0, 30, (*SIZE, 3))
        Image.fromarray(grey.astype(np.uint8)).save(Path(root) / "image_2" / f"{sample_id}.png")
        depth = np.linspace(60000, 4000, SIZE[0])[:, None] * np.ones(SIZE[1])
        depth[:8] = 0
        Image.fromarray(depth.astype(np.uint16)).save(Path(root) / "depth_u16" / f"{sample_id}.png")
    return Path(root)


@pytest.fixture(scope="session")
def segmentation_run():
    return write_segmentation_run


@pytest.fixture(scope="session")
def classification_run():
    return write_classification_run


@pytest.fixture(scope="session")
def input_files():
    return write_inputs


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """An MMCert run and a baseline run over the same data."""
    root = tmp_path_factory.mktemp("pair")
    data = write_inputs(root / "data")
    return (
        write_segmentation_run(root / "mmcert", data_root=data),
        write_segmentation_run(root / "baseline", "randomized_ablation", seed=1, data_root=data),
    )
