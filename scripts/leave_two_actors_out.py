"""How well are emotions heard in voices that training never heard? Four folds of two actors each.

    python scripts/leave_two_actors_out.py --data data/ravdess_audio --out outputs/actors

trains ``ravdess_audio`` once for each pair of actors, on the clips of the others; a tenth of those
clips validates. Each net is certified at every ``--k`` (one training serves them all), and asked
once what it says of all elements: that is its unablated accuracy. Leaves ``table.md`` and
``table.json``. What an interrupted call has finished is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from steps import certified_at, ensemble_accuracy, run

from mmcert.data.speech.ravdess import Ravdess
from mmcert.reporting.rounding import rounded_down

#: Changed chunks of sound that the table shows.
BUDGETS = (1, 2, 4, 8)


def fold(options: argparse.Namespace, actors: Sequence[int], n: int) -> dict[str, Any]:
    """Train without two actors, certify them; what is in the table about them."""
    name = "_".join(map(str, actors))
    training = options.out / name / "training"
    seconds = run(
        training,
        "train",
        "experiment=ravdess_audio",
        f"data.root={options.data}",
        f"data.options.test_actors={list(actors)}",
        "data.options.validation_actors=[]",
        "data.options.validation_share=0.1",
        f"seed={options.seed}",
        "callbacks.progress=null",
        *options.set,
    )
    common = (f"checkpoint={training}", "voting.processes=1", "threat.grid=null")
    whole = options.out / name / "all"
    run(
        whole,
        "certify",
        *common,
        "voting=exhaustive",  # one sub-sample: everything
        f"scheme.k={{audio: {n}}}",
        "threat.budgets=[{audio: 0}]",
    )
    row: dict[str, Any] = {
        "actors": list(actors),
        "training_seconds": seconds,
        "unablated": ensemble_accuracy(whole),
    }
    budgets = ", ".join(f"{{audio: {r}}}" for r in (0, *BUDGETS))
    for k in options.k:
        certified = options.out / name / f"k{k}"
        run(
            certified,
            "certify",
            *common,
            f"scheme.k={{audio: {k}}}",
            f"voting.draws={options.draws}",
            f"threat.budgets=[{budgets}]",
        )
        values = certified_at(certified, "audio")
        row[f"k={k}"] = {
            "ensemble": ensemble_accuracy(certified),
            **{f"r={r}": values[(r,)] for r in BUDGETS},
        }
    return row


def markdown(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> str:
    """The table for people: mean and range over the folds, rounded down."""

    def cell(values: Sequence[float]) -> str:
        shown = [rounded_down(f(values), 2) for f in (statistics.fmean, min, max)]
        return f"{shown[0]} ({shown[1]} to {shown[2]})"

    head = ["ensemble", *(f"r={r}" for r in BUDGETS)]
    lines = [
        "| retained | " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * len(head),
        f"| all | {cell([row['unablated'] for row in rows])} |" + " |" * len(BUDGETS),
    ]
    for k in counts:
        cells = (cell([row[f"k={k}"][name] for row in rows]) for name in head)
        lines.append(f"| {k} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def pairs(actors: Sequence[int]) -> list[tuple[int, int]]:
    """A man and a woman each, in the order of their numbers."""
    men, women = ([a for a in actors if a % 2 == sex] for sex in (1, 0))
    return list(zip(men, women, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="made by mmcert-prepare")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", help="numbers of folds; default: all")
    parser.add_argument("--k", type=int, nargs="+", default=[3, 9], help="retained chunks")
    parser.add_argument("--draws", type=int, default=10_000, help="N of a clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="folds at the same time")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the training")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    data = Ravdess("all", root=options.data, modalities=["audio"])
    n = data.inputs["audio"].shape[0]
    if n is None:
        raise SystemExit(f"{options.data}: clips of varying length; prepare them with a window.")
    folds = pairs(sorted({int(str(one).split("-")[-1]) for one in data.ids}))
    chosen = folds if options.folds is None else [folds[number] for number in options.folds]

    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda actors: fold(options, actors, n), chosen))
    text = markdown(rows, options.k)
    (options.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
