"""Run directories written by hand: a made-up road, votes that a made-up base model would cast.

The same writer serves tests/cli; pytest gives fixtures of this file to this folder only.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcert.records.certificates import Certificate, write_certificates
from mmcert.records.maps import ABSTAINED, write_map
from mmcert.records.meta import VotesMeta, write_meta
from mmcert.records.metrics_file import write_metrics
from mmcert.records.run import RunDescription, write_run
from mmcert.records.votes import SampleVotes, write_sample
from mmcert.theory.attacks import Attack
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
    return counts, right


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
    kinds="modification",
    write_votes=True,
):
    folder = Path(folder)
    n = {"rgb": SIZE[0] * SIZE[1], "depth": SIZE[0] * SIZE[1]}
    made = make_scheme(scheme, n, k=k, elements=ELEMENTS)
    meta = VotesMeta("segmentation", scheme, made.modalities, draws, 2, ("background", "road"))
    rng = np.random.default_rng(seed)
    rows, rights = [], []
    thresholds = [float(made.threshold(Attack(budget, kinds))) for budget in grid]
    if write_votes:
        write_meta(folder / "votes", meta)
    for index, sample_id in enumerate(ids):
        truth = road(shift=0.08 * (index - 1))
        counts, right = segmentation_votes(truth, scheme, draws, rng)
        rights.append((truth, right))
        if write_votes:
            sample = SampleVotes(sample_id, counts, truth, draws, made)
            write_sample(folder / "votes", sample, meta)
        hist = [np.bincount(right[truth == c], minlength=draws + 1).tolist() for c in (0, 1)]
        for name in statistics:
            rows.append(Certificate(sample_id, name, None, None, False, draws, n, k, hist=hist))
        certified = right / draws > thresholds[len(grid) // 2] + 0.12
        write_map(
            folder / "maps" / f"{sample_id}.png",
            np.where(certified, truth, ABSTAINED).astype(np.uint8),
            {"budget": json.dumps(grid[len(grid) // 2]), "statistics": "holm"},
        )
    results = []
    for name in statistics:
        slack = 0.12 if name == "holm" else 0.06
        points = []
        for budget, threshold in zip(grid, thresholds, strict=True):
            tp = fn = tn = fp = 0
            for truth, right in rights:
                hit = right / draws > threshold + slack
                tp += int((hit & (truth == 1)).sum())
                fn += int((~hit & (truth == 1)).sum())
                tn += int((hit & (truth == 0)).sum())
                fp += int((~hit & (truth == 0)).sum())
            points.append(
                {
                    "budget": budget,
                    "certified_pixel_accuracy": (tp + tn) / (tp + tn + fp + fn),
                    "certified_recall": tp / (tp + fn),
                    "certified_precision": tp / (tp + fp) if tp + fp else 0.0,
                    "certified_f_score": 2 * tp / (2 * tp + fp + fn),
                    "certified_iou": tp / (tp + fp + fn),
                    "per_class": {"certified_recall": [0.5, 0.5]},
                }
            )
        results.append(
            {
                "statistics": name,
                "claim": "robust",
                "guarantee": "per_sample" if name == "holm" else "dataset",
                "family": "sample" if name == "holm" else "dataset",
                "over_budgets": "each",
                "alpha": alpha,
                "draws": draws,
                "threat": dict.fromkeys(n, kinds),
                "grid": points,
            }
        )
    _write_rest(folder, "segmentation", made, ids, results, rows, data_root, seed)
    return folder


def write_classification_run(folder, scheme="mmcert", *, samples=40, draws=1000, seed=0):
    folder = Path(folder)
    n, k = {"image": 784, "audio": 50}, {"image": 60, "audio": 5}
    made = make_scheme(scheme, n, k=k, elements={"image": "pixel", "audio": "chunk of 160 samples"})
    meta = VotesMeta("classification", scheme, made.modalities, draws, 10)
    rng = np.random.default_rng(seed)
    grid = [{"image": r1, "audio": r2} for r1 in range(0, 9, 2) for r2 in range(3)]
    write_meta(folder / "votes", meta)
    rows, bounds = [], []
    for index in range(samples):
        target = index % 10
        share = np.full(10, 0.05 * (1 - (right := rng.beta(9, 1.5))))
        share[target] = right
        counts = rng.multinomial(draws, share / share.sum())
        sample_id = f"clip_{index:03d}"
        write_sample(
            folder / "votes", SampleVotes(sample_id, counts, np.array(target), draws, made), meta
        )
        bound = max(0.0, counts[target] / draws - 0.05)
        bounds.append(bound)
        held = [b for b in grid if bound > float(made.threshold(Attack(b)))]
        frontier = [
            b for b in held if not any(o != b and all(o[m] >= b[m] for m in b) for o in held)
        ]
        rows.append(
            Certificate(
                sample_id, "binomial", target, int(counts.argmax()), not held, draws, n, k,
                counts=counts.tolist(), lower_bound=bound, frontier=frontier,
            )
        )  # fmt: skip
    points = [
        {
            "budget": b,
            "certified_accuracy": np.mean([x > float(made.threshold(Attack(b))) for x in bounds]),
            "stable_rate": np.mean([x > float(made.threshold(Attack(b))) - 0.01 for x in bounds]),
            "abstain_rate": np.mean([x <= 0.5 for x in bounds]),
        }
        for b in grid
    ]
    result = {
        "statistics": "binomial",
        "claim": "robust",
        "guarantee": "per_element",
        "family": "sample",
        "over_budgets": "joint",
        "alpha": 0.001,
        "draws": draws,
        "threat": dict.fromkeys(n, "modification"),
        "grid": points,
    }
    ids = [row.id for row in rows]
    _write_rest(folder, "classification", made, ids, [result], rows, None, seed)
    return folder


def _write_rest(folder, task, scheme, ids, results, rows, data_root, seed):
    document = {"schema": 1, "task": task, "scheme": scheme.name, "samples": len(ids)}
    write_metrics(folder / "metrics.json", {**document, "results": results})
    write_certificates(folder / "certificates.parquet", rows)
    write_run(
        folder,
        RunDescription(
            command="certify",
            task=task,
            scheme=scheme.name,
            elements={m.name: m.element for m in scheme.modalities},
            precision="fp32",
            seeds={"voting": seed},
            versions={"mmcert": "0.1.0"},
            timings={"voting": 75.2, "certification": 0.4},
            draws_per_second=132.9,
        ),
    )
    root = "" if data_root is None else f"  root: {data_root}\n"
    (folder / "config.yaml").write_text(f"data:\n  name: made_up\n  split: test\n{root}")


def write_inputs(root, ids=("um_000001", "um_000002", "uu_000003")):
    """Images and depth maps of the made-up roads, in the flat layout."""
    rng = np.random.default_rng(5)
    for folder in ("image_2", "depth_u16"):
        (Path(root) / folder).mkdir(parents=True, exist_ok=True)
    for index, sample_id in enumerate(ids):
        truth = road(shift=0.08 * (index - 1))
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
