"""The same votes under every statistics option: the tables of docs/statistics.md.

    python scripts/compare_statistics.py

Votes are simulated with fixed seeds. *Segmentation*: one image of KITTI's size; the base model
labels 95.5 % of the pixels rightly with probability 1 - Exp(mean 5e-4), the rest with probability
Beta(4, 2); a fifth of the pixels is road. *Classification*: 500 clips of 8 classes, the true one
with probability uniform on (.55, .7), the rest spread evenly. Everything else is the public API, so
that a table is what a user gets from votes like these. Shown numbers are rounded down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcert import Attack, IndependentSubsampling, certify, evaluate
from mmcert.records.meta import VotesMeta
from mmcert.records.votes import SampleVotes
from mmcert.reporting.rounding import UNDEFINED, rounded_down

ALPHA = 0.001
SEED = 20240617

#: The r1 of the columns; r2 is 2 r1 (pixels) and r1 (frames).
PIXELS = (0, 5, 10, 16, 18, 20, 22)
FRAMES = (0, 1, 2, 3, 4, 5, 6)

IMAGE = (375, 1242)
SAMPLES, CLASSES = 500, 8

#: For whom a result holds, by its ``guarantee``.
HOLDS_FOR = {
    "segmentation": {"per_element": "each pixel alone", "per_sample": "the image"},
    "classification": {"per_sample": "each clip alone", "dataset": "the data set"},
}

Row = tuple[str, str, str, list[str]]


def image_votes(draws: int) -> tuple[SampleVotes, VotesMeta]:
    """Votes of one image of KITTI's size, background 0 and road 1."""
    rng = np.random.default_rng(SEED)
    P = IMAGE[0] * IMAGE[1]
    confident = rng.random(P) < 0.955
    p = np.where(confident, 1 - rng.exponential(5e-4, P), rng.beta(4, 2, P)).clip(0, 1)
    right = rng.binomial(draws, p).reshape(IMAGE)
    road = (rng.random(P) < 0.2).reshape(IMAGE)
    counts = np.where(road, np.stack([draws - right, right]), np.stack([right, draws - right]))
    scheme = IndependentSubsampling.from_counts({"rgb": P, "depth": P}, {"rgb": 8988, "depth": 996})
    meta = VotesMeta("segmentation", scheme.name, scheme.modalities, draws, 2)
    return SampleVotes("simulated", counts, road.astype(np.uint8), draws, scheme), meta


def clip_votes(draws: int) -> tuple[list[SampleVotes], VotesMeta]:
    """Votes of 500 clips of 108 frames of video and of audio; class 0 is the true one."""
    rng = np.random.default_rng(SEED)
    p = rng.uniform(0.55, 0.7, SAMPLES)
    rest = np.repeat((1 - p)[:, None] / (CLASSES - 1), CLASSES - 1, axis=1)
    counts = rng.multinomial(draws, np.column_stack([p, rest]))
    scheme = IndependentSubsampling.from_counts(
        {"video": 108, "audio": 108}, {"video": 3, "audio": 3}
    )
    meta = VotesMeta("classification", scheme.name, scheme.modalities, draws, CLASSES)
    target = np.array(0)
    votes = [SampleVotes(f"s{i:03d}", row, target, draws, scheme) for i, row in enumerate(counts)]
    return votes, meta


def results(
    votes: Sequence[SampleVotes],
    meta: VotesMeta,
    budgets: Sequence[Mapping[str, int]],
    statistics: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The robust results of one option."""
    document = evaluate(
        votes,
        meta,
        budgets=budgets,
        statistics=statistics,
        alpha=ALPHA,
        claims=("robust",),
        maps=False,
        target=None,
    )
    found: list[dict[str, Any]] = document["results"]
    return found


def segmentation_rows(draws: int) -> Iterator[Row]:
    """Certified pixel accuracy and F-score of the image under every option."""
    sample, meta = image_votes(draws)
    budgets = [{"rgb": r, "depth": 2 * r} for r in PIXELS]
    options: list[tuple[str, str, dict[str, Any]]] = [
        (f"`{name}`", name, {}) for name in ("binomial", "published", "bonferroni", "holm")
    ]
    for mode in ("", ", `over_budgets: joint`"):
        settings = {"family": "sample", "over_budgets": "joint" if mode else "each"}
        for families, kind in (("one", ""), ("per_class", ", `families: per_class`")):
            label = f"`closed_evalues`{kind}{mode}"
            options.append((label, "closed_evalues", {**settings, "families": families}))
    for label, name, given in options:
        (result,) = results([sample], meta, budgets, {name: given})
        cells = [
            f"{_down(point['certified_pixel_accuracy'])} / {_down(point['certified_f_score'])}"
            for point in result["grid"]
        ]
        yield _row(label, result, "segmentation", cells)


def classification_rows(draws: int) -> Iterator[Row]:
    """How many of the clips each option certifies."""
    votes, meta = clip_votes(draws)
    budgets = [{"video": r, "audio": r} for r in FRAMES]
    options: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
        ("`binomial`", {"binomial": {}}),
        ("`published`", {"published": {}}),
        ("`margin`, `two_bounds`", {"margin": {"method": "two_bounds"}}),
        ("`margin`", {"margin": {}}),
        ("`bonferroni`", {"bonferroni": {}}),
        ("`holm`", {"holm": {}}),
        ("`closed_evalues`", {"closed_evalues": {}}),
    )
    for name, statistics in options:
        for result in results(votes, meta, budgets, statistics):
            number = "per_sample_alpha" in result["reading"]  # of a data-set claim
            cells = [str(round(point["certified_accuracy"] * SAMPLES)) for point in result["grid"]]
            label = f"{name}, `M - v`" if number else name
            yield _row(label, result, "classification", cells)


def _row(name: str, result: Mapping[str, Any], task: str, cells: list[str]) -> Row:
    """One row; closed testing and ``M - v`` bound a number and name nobody."""
    holds_for = HOLDS_FOR[task][result["guarantee"]]
    if result["statistics"] == "closed_evalues" or name.endswith("`M - v`"):
        holds_for += ", as a number"
    return name, holds_for, result["over_budgets"], cells


def median_deltas(draws: int) -> str:
    """The median of the largest ``delta`` that each option certifies for a clip."""
    votes, _ = clip_votes(draws)
    counts = np.stack([sample.counts for sample in votes], axis=1)
    any_attack = Attack({"video": 1})  # a lower bound does not depend on the attack
    deltas = {}
    for name in ("binomial", "margin"):
        labels = np.zeros(SAMPLES, np.int64)
        result = certify(counts, votes[0].scheme, any_attack, ALPHA, labels=labels, statistics=name)
        bound = float(np.median(np.asarray(result.lower_bound)))
        deltas[name] = (
            bound - 0.5 if name == "binomial" else bound / 2
        )  # t = 1/2 + delta, m = 2 delta
    ratio = deltas["margin"] / deltas["binomial"]
    return (
        f"Largest `delta` certified for the median clip: `binomial` {_down(deltas['binomial'])}, "
        f"`margin` {_down(deltas['margin'])}, which is {rounded_down(ratio, 1)} times as much."
    )


def _down(value: float | None) -> str:
    """Three digits, never above the value."""
    return UNDEFINED if value is None else rounded_down(float(value)).removeprefix("0")


def table(columns: Sequence[str], rows: Iterator[Row]) -> str:
    """A markdown table."""
    head = ("statistics", "holds for", "budgets", *columns)
    lines = [head, ("---",) * len(head), *((*facts, *cells) for *facts, cells in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables() -> str:
    """All tables with their headings, as docs/statistics.md holds them."""
    pixels = [f"r1 = {r}" if r == 0 else str(r) for r in PIXELS]
    frames = [f"r = {r}" if r == 0 else str(r) for r in FRAMES]
    return "\n\n".join(
        (
            "**Pixels, N = 100.** Certified pixel accuracy / F-score.",
            table(pixels, segmentation_rows(100)),
            "**Pixels, N = 1000.** The same image, more draws.",
            table(pixels, segmentation_rows(1000)),
            f"**Clips, N = 1000.** Clips certified, of {SAMPLES}.",
            table(frames, classification_rows(1000)),
            median_deltas(1000),
        )
    )


if __name__ == "__main__":
    print(tables())
