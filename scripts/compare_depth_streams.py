"""Which depth stream still sees at 0.2 % of its pixels? Measured through the real commands.

    python scripts/compare_depth_streams.py --data data/synthetic_roads --out outputs/depth_streams

trains and certifies, for every seed, the same compact net on the same RGB pixels with each depth
stream, and writes ``table.md`` and ``table.json``. What an interrupted call has finished is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RATIO = {"rgb": 0.0193, "depth": 0.00214}
#: Depth is attacked at twice as many pixels as RGB.
DEPTH_PER_RGB = 2
REFERENCE = "RGB only"
#: Depth stream -> what it changes on the command line.
STREAMS: dict[str, tuple[str, ...]] = {
    REFERENCE: (f"scheme.ratio={{rgb: {RATIO['rgb']}, depth: 0}}",),
    "normals": (
        "model.options.second=normals",
        "+encoding.depth={name: zero}",
    ),
    "masked average": (),
    "interpolation": (
        "+encoding.depth={name: interpolation, inverse: true, zero_is_missing: true}",
    ),
    "normals of interpolation": (
        "model.options.second=normals",
        "+encoding.depth={name: interpolation, inverse: true, zero_is_missing: true}",
    ),
}
STATISTICS = ("holm", "closed_evalues")


def run(log: Path, module: str, *arguments: str) -> None:
    """One command in its own process, its output in ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", f"mmcert.cli.{module}", *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"mmcert-{module} failed; see {log}:\n{log.read_text()[-2000:]}")


def train_and_certify(options: argparse.Namespace, stream: str, seed: int) -> Path:
    """The run directory of one certified depth stream."""
    folder = options.out / f"seed_{seed}" / stream.replace(" ", "_")
    training, certified = folder / "training", folder / "certified"
    if (certified / "metrics.json").is_file():
        return certified
    plan = [{"rgb": r, "depth": DEPTH_PER_RGB * r} for r in range(options.largest + 1)]
    budgets = ", ".join(f"{{rgb: {b['rgb']}, depth: {b['depth']}}}" for b in plan)
    if not (training / "finished").is_file():
        run(
            folder / "training.log",
            "train",
            "experiment=synthetic_roads_mmcert",
            "scheme.k=null",
            f"scheme.ratio={{rgb: {RATIO['rgb']}, depth: {RATIO['depth']}}}",
            "threat.grid=null",
            f"threat.budgets=[{budgets}]",
            f"data.root={options.data}",
            f"trainer.max_epochs={options.epochs}",
            "trainer.threads=1",
            "callbacks.progress=null",
            f"seed={seed}",
            f"run_dir={training}",
            *STREAMS[stream],
        )
        (training / "finished").touch()
    run(
        folder / "certify.log",
        "certify",
        f"checkpoint={training}",
        f"voting.draws={options.draws}",
        f"voting.processes={options.processes}",
        f"statistics=[{','.join(STATISTICS)}]",
        "maps=false",
        f"run_dir={certified}",
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


def tabulate(runs: dict[str, list[Path]]) -> dict[str, Any]:
    """Mean and range over seeds per statistics and stream, crossovers and reach."""
    table: dict[str, Any] = {}
    for name in STATISTICS:
        per_stream: dict[str, Any] = {}
        for stream, folders in runs.items():
            curves = [f_scores(folder)[name] for folder in folders]
            budgets = sorted(curves[0])
            values = [[curve[r] for curve in curves] for r in budgets]
            per_stream[stream] = {
                "mean": [statistics.fmean(v) for v in values],
                "least": [min(v) for v in values],
                "most": [max(v) for v in values],
            }
        if REFERENCE in per_stream:
            for row in per_stream.values():
                row["crossover"] = crossover(row["mean"], per_stream[REFERENCE]["mean"])
        for row in per_stream.values():
            row["reach"] = reach(row["mean"])
        table[name] = per_stream
    return table


def markdown(table: dict[str, Any], options: argparse.Namespace) -> str:
    """The table for people; certified scores are rounded down."""
    lines = [
        f"Certified F-score of {options.epochs} epochs, {options.draws} draws, "
        f"{len(options.seeds)} seeds (mean, least to most), RGB {RATIO['rgb']:.2%}, depth "
        f"{RATIO['depth']:.3%}, r2 = {DEPTH_PER_RGB} r1. *Up to*: the largest r1 up to which a "
        f"stream is nowhere below RGB only.",
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
                f"{down(row['mean'][r])} ({down(row['least'][r])}–{down(row['most'][r])})"  # noqa: RUF001
                for r in shown
            ]
            limit = row.get("crossover")
            until = "" if stream == REFERENCE else "never" if limit is None else str(limit)
            lines.append(f"| {stream} | {' | '.join(cells)} | {until} | {row['reach']} |")
        lines.append("")
    return "\n".join(lines)


def down(value: float) -> str:
    """Three digits, rounded down."""
    return f"{int(value * 1000) / 1000:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of synthetic roads")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--streams", nargs="+", choices=list(STREAMS), default=list(STREAMS))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--draws", type=int, default=200, help="N per scene")
    parser.add_argument("--largest", type=int, default=30, help="largest r1, pixels")
    parser.add_argument("--every", type=int, default=4, help="r1 step of the printed table")
    parser.add_argument("--processes", type=int, default=1, help="voting processes")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    runs: dict[str, list[Path]] = {stream: [] for stream in options.streams}
    for seed in options.seeds:
        for stream in options.streams:
            began = time.monotonic()
            runs[stream].append(train_and_certify(options, stream, seed))
            print(f"seed {seed}, {stream}: {time.monotonic() - began:.0f} s", flush=True)
    table = tabulate(runs)
    text = markdown(table, options)
    (options.out / "table.json").write_text(json.dumps(table, indent=2) + "\n")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
