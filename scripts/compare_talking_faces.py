"""MMCert against pooled randomized ablation on talking faces, each at its best retained counts.

    python scripts/compare_talking_faces.py --data data/synthetic_speech_prepared --out faces

does for every seed:

1. ``synthetic_speech_mmcert`` is trained and certified at k = (3, 3);
2. ``synthetic_speech_many_counts`` is trained once and serves both schemes. On the validation split
   both are certified at many counts, and for each ratio of budgets each scheme keeps the one with
   the largest area under certified accuracy along the ratio. The test split is certified at these.

Leaves ``table.md`` and ``table.json``. What an interrupted call has finished is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from steps import certified_at, ensemble_accuracy, run

from mmcert.reporting.rounding import rounded_down

Budget = tuple[int, int]

#: Ratios of changed frames to changed chunks, and how many steps each is followed.
RATIOS: dict[Budget, int] = {(1, 4): 16, (1, 2): 24, (1, 1): 32, (2, 1): 24, (4, 1): 16}
#: Retained (frames, chunks) among which validation chooses. Of a pool their sum counts.
MMCERT = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (4, 1), (2, 4), (4, 2), (3, 3), (2, 6), (6, 2))
POOLED = ((1, 1), (2, 1), (2, 2), (3, 3), (4, 4), (6, 6))
SCHEMES = {"mmcert": MMCERT, "randomized_ablation": POOLED}


def rays() -> dict[Budget, list[Budget]]:
    """The budgets of each ratio, from none on."""
    return {
        (video, audio): [(video * step, audio * step) for step in range(steps + 1)]
        for (video, audio), steps in RATIOS.items()
    }


def written(values: Budget) -> str:
    """Frames and chunks as the commands read them."""
    return f"{{video: {values[0]}, audio: {values[1]}}}"


def train(run_dir: Path, options: argparse.Namespace, experiment: str, seed: int) -> float:
    """Train an experiment; seconds of CPU."""
    return run(
        run_dir,
        "train",
        f"experiment={experiment}",
        f"data.root={options.data}",
        f"seed={seed}",
        "callbacks.progress=null",
        *options.set,
    )


def certify(run_dir: Path, checkpoint: Path, budgets: Sequence[Budget], *more: str) -> float:
    """Certify a checkpoint at budgets; seconds of CPU."""
    listed = ", ".join(written(budget) for budget in budgets)
    return run(
        run_dir,
        "certify",
        *more,
        f"checkpoint={checkpoint}",
        "voting.processes=1",
        "threat.grid=null",
        f"threat.budgets=[{listed}]",
    )


def area(certified: Mapping[Budget, float], ray: Sequence[Budget]) -> float:
    """Area under certified accuracy along a ray, by trapezoids, in steps of the ray."""
    values = [certified[budget] for budget in ray]
    return sum(values) - (values[0] + values[-1]) / 2


def fixed_counts(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The first part: one training for k = (3, 3)."""
    folder = options.out / f"seed{seed}"
    training = folder / "training33"
    learned = train(training, options, "synthetic_speech_mmcert", seed)
    certified = folder / "certified33"
    budgets = [(r, r) for r in range(17)]
    voted = certify(certified, training, budgets, f"voting.draws={options.draws}")
    at = certified_at(certified, "video", "audio")
    return {
        "training_seconds": learned,
        "certification_seconds": voted,
        "ensemble": ensemble_accuracy(certified),
        "certified": {f"{r},{r}": at[r, r] for r in range(17)},
    }


def chosen_counts(
    options: argparse.Namespace, seed: int, scheme: str, training: Path
) -> dict[Budget, Budget]:
    """The retained counts of a scheme for each ratio, by its votes on the validation split.

    1000 draws at alpha .3 leave the votes about as much slack as 10,000 at .001 of a certificate;
    that alpha is for choosing only, on other clips than the test.
    """
    budgets = sorted({budget for ray in rays().values() for budget in ray})
    folder = options.out / f"seed{seed}" / f"validation_{scheme}"
    sweep = ", ".join(written(k) for k in SCHEMES[scheme])
    certify(
        folder,
        training,
        budgets,
        "-m",
        f"scheme={scheme}",
        f"scheme.k={sweep}",
        "data.split=val",
        "voting.draws=1000",
        "alpha=0.3",
        "+statistics.margin.method=two_bounds",
    )
    found: dict[Budget, dict[Budget, float]] = {}
    for path in sorted(folder.glob("*/config.yaml")):
        k = yaml.safe_load(path.read_text())["scheme"]["k"]
        found[k["video"], k["audio"]] = certified_at(path.parent, "video", "audio")
    return {
        ratio: max(found, key=lambda k: (area(found[k], ray), k)) for ratio, ray in rays().items()
    }


def shared_network(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The second part: one training, both schemes at the counts that validation chose."""
    folder = options.out / f"seed{seed}"
    training = folder / "many_counts"
    learned = train(training, options, "synthetic_speech_many_counts", seed)
    chosen = {scheme: chosen_counts(options, seed, scheme, training) for scheme in SCHEMES}
    budgets = sorted({budget for ray in rays().values() for budget in ray})
    result: dict[str, Any] = {"training_seconds": learned}
    for ratio, ray in rays().items():
        one: dict[str, Any] = {}
        for scheme in SCHEMES:
            k = chosen[scheme][ratio]
            certified = folder / f"{scheme}_{k[0]}_{k[1]}"
            certify(
                certified,
                training,
                budgets,
                f"scheme={scheme}",
                f"scheme.k={written(k)}",
                f"voting.draws={options.draws}",
            )
            values = certified_at(certified, "video", "audio")
            one[scheme] = {
                "k": list(k),
                "area": area(values, ray),
                "certified": [values[budget] for budget in ray],
            }
        result[f"{ratio[0]}:{ratio[1]}"] = one
    return result


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables for people."""
    lines = [
        "| seed | training (CPU s) | certification (CPU s) | ensemble | "
        "(4, 4) | (8, 8) | (12, 12) |",
        "| --- |" + " ---: |" * 6,
    ]
    for row in rows:
        one = row["fixed"]
        values = [one["ensemble"], *(one["certified"][f"{r},{r}"] for r in (4, 8, 12))]
        cells = " | ".join(map(rounded_down, values))
        lines.append(
            f"| {row['seed']} | {one['training_seconds']:.0f} | "
            f"{one['certification_seconds']:.0f} | {cells} |"
        )
    means = [
        statistics.fmean(row["fixed"]["ensemble"] for row in rows),
        *(
            statistics.fmean(row["fixed"]["certified"][f"{r},{r}"] for row in rows)
            for r in (4, 8, 12)
        ),
    ]
    lines += [f"| **mean** | | | {' | '.join(map(rounded_down, means))} |", ""]
    lines += [
        "| frames : chunks | seed | k of MMCert | kept of the pool | area of MMCert | "
        "of the pool | gain | pool ahead at |",
        "| --- |" + " ---: |" * 7,
    ]
    for ratio, ray in rays().items():
        for row in rows:
            name = f"{ratio[0]}:{ratio[1]}"
            ours, pooled = (row["shared"][name][scheme] for scheme in SCHEMES)
            behind = [
                f"({video}, {audio})"
                for (video, audio), a, b in zip(
                    ray, ours["certified"], pooled["certified"], strict=True
                )
                if b > a
            ]
            gain = ours["area"] / pooled["area"] - 1 if pooled["area"] else float("inf")
            lines.append(
                f"| {name} | {row['seed']} | ({ours['k'][0]}, {ours['k'][1]}) | "
                f"{sum(pooled['k'])} | {ours['area']:.2f} | {pooled['area']:.2f} | {gain:+.0%} | "
                f"{', '.join(behind) or 'none'} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="made by mmcert-prepare")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--draws", type=int, default=10_000, help="N of a clip")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the trainings"
    )
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    rows = [
        {
            "seed": seed,
            "fixed": fixed_counts(options, seed),
            "shared": shared_network(options, seed),
        }
        for seed in options.seeds
    ]
    text = markdown(rows)
    (options.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
