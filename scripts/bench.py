"""Measure the speed claims: ``python scripts/bench.py [names]``, without names all of them.

Each benchmark is a set of cases whose runs alternate (a slow moment of the machine then hits all of
them), and reports medians beside the claimed limit. Exit code 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One thing to time.

    Attributes:
        name: What is done.
        run: Does it once.
        per: Units of work in one run; the time of one unit is reported.
        unit: Name of that unit, e.g. ``draw``.
        limit: Claimed upper limit in seconds per unit, if one is claimed.
        runs: Timed runs, after one that is not timed.
    """

    name: str
    run: Callable[[], object]
    per: int = 1
    unit: str = "run"
    limit: float | None = None
    runs: int = 15


BENCHMARKS: dict[str, Callable[[], list[Case]]] = {}


def benchmark(make: Callable[[], list[Case]]) -> Callable[[], list[Case]]:
    """Register a function that sets a benchmark up and returns its cases."""
    BENCHMARKS[make.__name__] = make
    return make


@benchmark
def sampling() -> list[Case]:
    """Exact uniform subsets, mask and sorted indices as torch tensors, one core."""
    from mmcert.sampling.subsets import draw_subsets
    from mmcert.sampling.training import training_masks
    from mmcert.theory.schemes import IndependentSubsampling, PooledSubsampling, Scheme

    def draws(scheme: Scheme, count: int) -> Callable[[], object]:
        return lambda: draw_subsets(
            scheme, seed=1, sample_id="um_000000", stream="test", draws=range(count)
        )

    image = IndependentSubsampling.from_counts({"rgb": 465750}, {"rgb": 8988})
    kitti_n, kitti_k = {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996}
    kitti = IndependentSubsampling.from_counts(kitti_n, kitti_k)
    pooled = PooledSubsampling.from_counts(kitti_n, kitti_k)
    digits = IndependentSubsampling.from_counts(
        {"image": 784, "audio": 50}, {"image": 60, "audio": 5}
    )
    roads = IndependentSubsampling.from_counts(
        {"rgb": 30720, "depth": 30720}, {"rgb": 592, "depth": 65}
    )
    return [
        Case("8988 of 465750", draws(image, 8), 8, "mask", 0.5e-3),
        Case("8988 and 996 of 465750", draws(kitti, 8), 16, "mask", 0.5e-3),
        Case("9984 of 931500, pooled", draws(pooled, 8), 16, "mask", 0.5e-3),
        Case("60 of 784 and 5 of 50", draws(digits, 1000), 1000, "draw", 2.5e-6),
        Case(
            "training masks 2 x 30720, batch 16",
            lambda: training_masks(
                roads,
                seed=1,
                sample_ids=[f"uu_{i:06d}" for i in range(16)],
                step=5,
                factors=[0.1 * i for i in range(16)],
            ),
            16,
            "sample",
        ),
    ]


@benchmark
def speech() -> list[Case]:
    """A draw of 3 of 108 frames and 3 of 108 chunks, sampled and labelled, one core."""
    import torch

    from mmcert.models.registry import build_model
    from mmcert.sampling.subsets import draw_subsets
    from mmcert.theory.schemes import make_scheme

    inputs = {
        "video": {"shape": [108, 3, 64, 64], "element_axes": [0], "element": "frame"},
        "audio": {"shape": [108, 735], "element_axes": [0], "element": "chunk"},
    }
    n, k = {"video": 108, "audio": 108}, {"video": 3, "audio": 3}
    model = build_model(
        "elementwise_sequence", inputs=inputs, classes=8, encoding={"name": "retained_indicator"}
    ).eval()
    clip = {"id": "a", "inputs": {name: torch.rand(one["shape"]) for name, one in inputs.items()}}
    with torch.inference_mode():
        state = model.prepare(clip)

    def vote(name: str) -> Callable[[], object]:
        scheme = make_scheme(name, n, k=k)

        def run() -> object:
            with torch.inference_mode():
                drawn = draw_subsets(
                    scheme, seed=1, sample_id="a", stream="test", draws=range(model.default_block)
                )
                return model.label(state, drawn)

        return run

    return [
        Case("3 and 3 of 108", vote("mmcert"), model.default_block, "draw", 20e-6),
        Case("6 of 216, pooled", vote("randomized_ablation"), model.default_block, "draw", 50e-6),
    ]


@benchmark
def depth_streams() -> list[Case]:
    """What a depth stream costs before the network, per map of 375 x 1242."""
    import torch

    from mmcert.models.normals import surface_normals
    from mmcert.sampling.encodings import build_encoding
    from mmcert.theory.modality import InputSpec

    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(375.0)[:, None] - 172.85
    road = 1.65 * 721.5 / rows.clamp(min=15).expand(375, 1242)
    depth = road * (1 + 0.01 * torch.rand(375, 1242, generator=generator))
    camera = torch.tensor([[721.5, 0, 609.6], [0, 721.5, 172.85], [0, 0, 1]])
    mask = torch.rand(1, 375 * 1242, generator=generator) < 0.00214
    spec = InputSpec((1, None, None), (1, 2), "pixel")
    interpolation = build_encoding(
        {"name": "interpolation", "inverse": True, "zero_is_missing": True}, spec
    )
    ground = build_encoding({"name": "ground_height"}, spec)
    return [
        Case("surface normals", lambda: surface_normals(depth, camera), 1, "map", 25e-3),
        Case("interpolation", lambda: interpolation(depth[None, None], mask), 1, "map", 10e-3),
        Case("ground height", lambda: ground(depth[None, None], mask), 1, "map", 20e-3),
    ]


def measure(cases: list[Case]) -> dict[str, list[float]]:
    """Seconds per unit of each case, its runs alternating with those of the others."""
    for case in cases:
        case.run()
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn in range(max(case.runs for case in cases)):
        for case in cases:
            if turn < case.runs:
                start = time.perf_counter()
                case.run()
                seconds[case.name].append((time.perf_counter() - start) / case.per)
    return seconds


def shown(seconds: float) -> str:
    """A time with a fitting unit."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main() -> int:
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; choose from {', '.join(BENCHMARKS)}")
    console = Console()
    held = True
    for name in names:
        cases = BENCHMARKS[name]()
        seconds = measure(cases)
        table = Table(title=f"python scripts/bench.py {name}", title_justify="left")
        for column in ("case", "unit", "median", "fastest", "limit", "holds"):
            table.add_column(column)
        for case in cases:
            median = statistics.median(seconds[case.name])
            holds = case.limit is None or median <= case.limit
            held = held and holds
            limit = "" if case.limit is None else shown(case.limit)
            verdict = "" if case.limit is None else "yes" if holds else "NO"
            fastest = shown(min(seconds[case.name]))
            table.add_row(case.name, case.unit, shown(median), fastest, limit, verdict)
        console.print(table)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
