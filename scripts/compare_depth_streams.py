"""Which depth stream still sees at 0.2 % of its pixels? Measured through the real commands.

    python scripts/compare_depth_streams.py --data data/synthetic_roads --out outputs/depth_streams

trains and certifies, for every seed, the same compact net on the same RGB pixels with each depth
stream (``experiment=synthetic_roads_full_size``), and writes ``table.md`` and ``table.json``. What
an interrupted call has finished is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from steps import run

from mmcert.reporting.rounding import rounded_down

RATIO = {"rgb": 0.0193, "depth": 0.00214}
#: Depth is attacked at twice as many pixels as RGB.
DEPTH_PER_RGB = 2
ALPHA = 0.001
REFERENCE = "RGB only"
#: Depth stream -> what it changes of the experiment.
STREAMS: dict[str, tuple[str, ...]] = {
    REFERENCE: (
        f"scheme.ratio={{rgb: {RATIO['rgb']}, depth: 0}}",
        "encoding.depth={name: retained_indicator}",
    ),
    "normals": ("model.options.second=normals", "encoding.depth={name: zero}"),
    "masked average": ("encoding.depth={name: retained_indicator}",),
    "interpolation": (
        "++encoding.depth={name: interpolation, inverse: true, zero_is_missing: true}",
    ),
    "ground height": ("encoding.depth={name: ground_height}",),
}
STATISTICS = ("holm", "closed_evalues")


#: Keep freed memory: a quarter of the time would go into pages of large temporary maps.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(10**9), "MALLOC_TRIM_THRESHOLD_": str(4 * 10**9)}


def train_and_certify(options: argparse.Namespace, stream: str, seed: int) -> Path:
    """The run directory of one certified depth stream."""
    folder = options.out / f"seed_{seed}" / stream.replace(" ", "_")
    training, certified = folder / "training", folder / "certified"
    plan = [{"rgb": r, "depth": DEPTH_PER_RGB * r} for r in range(options.largest + 1)]
    budgets = ", ".join(f"{{rgb: {b['rgb']}, depth: {b['depth']}}}" for b in plan)
    run(
        training,
        "train",
        "experiment=synthetic_roads_full_size",
        "threat.grid=null",
        f"threat.budgets=[{budgets}]",
        f"data.root={options.data}",
        f"trainer.max_epochs={options.epochs}",
        f"alpha={ALPHA}",
        "callbacks.progress=null",
        f"seed={seed}",
        *STREAMS[stream],
        environment=ALLOCATOR,
    )
    run(
        certified,
        "certify",
        f"checkpoint={training}",
        f"voting.draws={options.draws}",
        "voting.processes=1",
        f"statistics=[{','.join(STATISTICS)}]",
        "statistics.closed_evalues.families=per_class",  # as in the table of docs/depth-streams.md
        "maps=false",
        environment=ALLOCATOR,
    )
    return certified


def f_scores(run_dir: Path) -> dict[str, dict[int, float]]:
    """Certified F-score over the whole test split by r1: Holm per image, e-values of the set."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    wanted = {"holm": "sample", "closed_evalues": "dataset"}
    found: dict[str, dict[int, float]] = {}
    for result in metrics["results"]:
        name = result["statistics"]
        if result["claim"] == "robust" and wanted.get(name) == result["family"]:
            found[name] = {
                point["budget"]["rgb"]: point["certified_f_score"] or 0.0
                for point in result["grid"]
            }
    return found


def crossover(ours: Sequence[float], reference: Sequence[float]) -> int | None:
    """The largest r1 up to which ``ours`` is nowhere below ``reference``; None: not even at 0."""
    last = None
    for r, (one, other) in enumerate(zip(ours, reference, strict=True)):
        if one < other:
            break
        last = r
    return last


def reach(scores: Sequence[float]) -> int:
    """The largest r1 with a certified F-score above 0."""
    return max((r for r, value in enumerate(scores) if value > 0), default=0)


def unanimous_reach(run_dir: Path, name: str) -> int:
    """The largest r1 at which a pixel with unanimous votes is certified, whatever the stream."""
    from mmcert.theory.planning import largest_budget
    from mmcert.theory.schemes import IndependentSubsampling

    metrics = json.loads((run_dir / "metrics.json").read_text())
    result = next(r for r in metrics["results"] if r["statistics"] == name)
    # F-scores need both classes, and families per class split alpha between them.
    alpha = result["alpha"] / 2 if name == "closed_evalues" else result["alpha"]
    return max(
        largest_budget(
            IndependentSubsampling.from_counts(size["n"], size["k"]),
            {"rgb": 1, "depth": DEPTH_PER_RGB},
            result["draws"],
            alpha,
            size["n"]["rgb"],
            name,
        )
        or 0
        for size in metrics["thresholds"]
    )


def tabulate(runs: dict[str, list[Path]]) -> dict[str, Any]:
    """Mean and range over seeds per statistics and stream, crossovers and reach."""
    table: dict[str, Any] = {}
    for name in STATISTICS:
        per_stream: dict[str, Any] = {}
        for stream, folders in runs.items():
            curves = [list(f_scores(folder)[name].values()) for folder in folders]
            at_each_budget = list(zip(*curves, strict=True))
            per_stream[stream] = {
                "seeds": curves,
                "mean": [statistics.fmean(v) for v in at_each_budget],
                "least": [min(v) for v in at_each_budget],
                "most": [max(v) for v in at_each_budget],
                "unanimous_reach": unanimous_reach(folders[0], name),
            }
        if REFERENCE in per_stream:
            reference = per_stream[REFERENCE]
            for row in per_stream.values():
                row["crossover"] = crossover(row["mean"], reference["mean"])
                row["crossover_of_seeds"] = [
                    crossover(one, other)
                    for one, other in zip(row["seeds"], reference["seeds"], strict=True)
                ]
        for row in per_stream.values():
            row["reach"] = reach(row["mean"])
        table[name] = per_stream
    return table


def markdown(table: dict[str, Any], options: argparse.Namespace) -> str:
    """The table for people; certified scores are rounded down."""
    lines = [
        f"Certified F-score of {options.epochs} epochs, {options.draws} draws, "
        f"{len(options.seeds)} seeds (mean, least to most), RGB {RATIO['rgb']:.2%}, depth "
        f"{RATIO['depth']:.3%}, r2 = {DEPTH_PER_RGB} r1, alpha = {ALPHA}. *Up to*: the largest r1 "
        f"up to which a stream is nowhere below RGB only, of the mean (of each seed). *Reach*: the "
        f"largest r1 with anything certified, of what unanimous pixels would allow.",
        "",
    ]
    shown = [r for r in range(options.largest + 1) if r % options.every == 0]
    for name, rows in table.items():
        lines += [
            f"**{name}**",
            "",
            "| depth stream | " + " | ".join(f"r1 = {r}" for r in shown) + " | up to | reach |",
            "| --- |" + " ---: |" * (len(shown) + 2),
        ]
        for stream, row in rows.items():
            cells = [
                f"{rounded_down(row['mean'][r])} ({rounded_down(row['least'][r])}–"  # noqa: RUF001
                f"{rounded_down(row['most'][r])})"
                for r in shown
            ]
            until = ""
            if stream != REFERENCE and "crossover" in row:
                seeds = ", ".join(_until(limit) for limit in row["crossover_of_seeds"])
                until = f"{_until(row['crossover'])} ({seeds})"
            limits = f"{row['reach']} of {row['unanimous_reach']}"
            lines.append(f"| {stream} | {' | '.join(cells)} | {until} | {limits} |")
        lines.append("")
    return "\n".join(lines)


def _until(limit: int | None) -> str:
    return "never" if limit is None else str(limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of synthetic roads")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--streams", nargs="+", choices=list(STREAMS), default=list(STREAMS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--draws", type=int, default=100, help="N per scene")
    parser.add_argument("--largest", type=int, default=24, help="largest r1, pixels")
    parser.add_argument("--every", type=int, default=4, help="r1 step of the printed table")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()

    def one(seed: int, stream: str) -> Path:
        began = time.monotonic()
        run_dir = train_and_certify(options, stream, seed)
        print(f"seed {seed}, {stream}: {time.monotonic() - began:.0f} s", flush=True)
        return run_dir

    with ThreadPoolExecutor(options.jobs) as pool:
        pending = {
            (stream, seed): pool.submit(one, seed, stream)
            for seed in options.seeds
            for stream in options.streams
        }
    runs = {
        stream: [pending[stream, seed].result() for seed in options.seeds]
        for stream in options.streams
    }
    table = tabulate(runs)
    text = markdown(table, options)
    (options.out / "table.json").write_text(json.dumps(table, indent=2) + "\n")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
