"""How well do the spoken digits of a voice certify that training never heard? One fold a speaker.

    python scripts/leave_one_speaker_out.py --data data/avmnist --out outputs/speakers

trains for every speaker of the recordings a base model (``avmnist_speakers_mmcert``) that hears
neither this speaker nor the next one; chooses the retained counts on the votes of that next one
(``sweep=avmnist_retained``); certifies the speaker at these counts; and writes ``table.md`` and
``table.json``. What an interrupted call has finished is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from mmcert.data.digits.avmnist_files import find_recordings

#: What the retained counts are chosen for: changed pixels, changed chunks of sound.
TARGET = (4, 1)
#: Counts whose certified accuracy is so close to the best are as good as it: 300 validation pairs
#: have a standard error of .027.
AS_GOOD = 0.02
BUDGETS = ((0, 0), (4, 0), (0, 1), (4, 1), (8, 1), (4, 2), (8, 2))


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


def certified_at(run_dir: Path) -> dict[tuple[int, int], float]:
    """Certified accuracy by (pixels, chunks) under ``margin``, each sample at alpha."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    wanted = {"statistics": "margin", "claim": "robust", "guarantee": "per_sample"}
    result = next(one for one in metrics["results"] if wanted.items() <= one.items())
    return {
        (point["budget"]["image"], point["budget"]["audio"]): point["certified_accuracy"]
        for point in result["grid"]
    }


def ensemble_accuracy(run_dir: Path) -> float:
    """Share of samples whose true label has strictly the most votes."""
    rows = pq.read_table(
        run_dir / "certificates.parquet", columns=["statistics", "predicted", "target"]
    ).to_pylist()
    right = [row["predicted"] == row["target"] for row in rows if row["statistics"] == "margin"]
    return statistics.fmean(right)


def best_counts(candidates: Mapping[tuple[int, int], float]) -> tuple[int, int]:
    """Of the (pixels, chunks) that certify as much as the best, those that retain most.

    More retained elements make the ensemble right more often where nothing is attacked.
    """
    least = max(candidates.values()) - AS_GOOD
    good = [k for k, accuracy in candidates.items() if accuracy >= least]
    return max(good, key=lambda k: (k[0] / 784 + k[1] / 50, k))


def choose(folder: Path) -> dict[tuple[int, int], float]:
    """Certified accuracy at the target by retained (pixels, chunks), from the runs of a sweep."""
    found = {}
    for path in sorted(folder.glob("*/config.yaml")):
        k = yaml.safe_load(path.read_text())["scheme"]["k"]
        found[k["image"], k["audio"]] = certified_at(path.parent)[TARGET]
    return found


def fold(options: argparse.Namespace, speaker: str, validation: str) -> dict[str, Any]:
    """Train, choose, certify one speaker; what is in the table about it."""
    folder = options.out / speaker
    training, chosen = folder / "training", folder / "validation"
    certified = folder / "certified"
    if not (training / "finished").is_file():
        began = time.monotonic()
        run(
            folder / "training.log",
            "train",
            "experiment=avmnist_speakers_mmcert",
            f"data.root={options.data}",
            f"data.options.test_speaker={speaker}",
            f"data.options.validation_speaker={validation}",
            f"seed={options.seed}",
            "callbacks.progress=null",
            f"run_dir={training}",
            *options.set,
        )
        (training / "finished").write_text(f"{time.monotonic() - began:.0f}\n")
    if not (chosen / "finished").is_file():
        run(
            folder / "validation.log",
            "certify",
            "sweep=avmnist_retained",
            f"checkpoint={training}",
            f"data.max_samples={options.validation_samples}",
            "voting.processes=1",
            f"run_dir={chosen}",
        )
        (chosen / "finished").touch()
    candidates = choose(chosen)
    image, audio = best_counts(candidates)
    if not (certified / "metrics.json").is_file():
        pairs = ", ".join(f"{{image: {r}, audio: {s}}}" for r, s in BUDGETS)
        run(
            folder / "certified.log",
            "certify",
            f"checkpoint={training}",
            f"scheme.k={{image: {image}, audio: {audio}}}",
            f"data.max_samples={options.samples}",
            f"voting.draws={options.draws}",
            "voting.processes=1",
            "threat.grid=null",
            f"threat.budgets=[{pairs}]",
            f"run_dir={certified}",
        )
    return {
        "speaker": speaker,
        "validation": validation,
        "k": [image, audio],
        "candidates": {f"{a},{b}": value for (a, b), value in sorted(candidates.items())},
        "training_seconds": int((training / "finished").read_text()),
        "ensemble_accuracy": ensemble_accuracy(certified),
        "certified": {f"{r},{s}": value for (r, s), value in certified_at(certified).items()},
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table for people; accuracies are rounded down."""
    columns = ["ensemble", *(f"({r}, {s})" for r, s in BUDGETS)]

    def values(row: Mapping[str, Any]) -> list[float]:
        return [row["ensemble_accuracy"], *(row["certified"][f"{r},{s}"] for r, s in BUDGETS)]

    lines = [
        "| speaker | chosen on | k | " + " | ".join(columns) + " |",
        "| --- | --- | --- |" + " ---: |" * len(columns),
    ]
    for row in rows:
        cells = " | ".join(down(value) for value in values(row))
        image, audio = row["k"]
        lines.append(f"| {row['speaker']} | {row['validation']} | ({image}, {audio}) | {cells} |")
    table = list(zip(*map(values, rows), strict=True))
    means = " | ".join(down(statistics.fmean(column)) for column in table)
    ranges = " | ".join(f"{down(min(column))} to {down(max(column))}" for column in table)
    lines += [f"| **mean** | | | {means} |", f"| range | | | {ranges} |"]
    return "\n".join(lines) + "\n"


def down(value: float) -> str:
    """Three digits, rounded down."""
    return f"{int(value * 1000 + 1e-9) / 1000:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of AV-MNIST")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speakers", nargs="+", help="those to test; default: all")
    parser.add_argument("--samples", type=int, default=500, help="pairs that a fold certifies")
    parser.add_argument(
        "--validation-samples", type=int, default=300, help="pairs on which it chooses its counts"
    )
    parser.add_argument("--draws", type=int, default=10_000, help="N of a pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="folds at the same time")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the training")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    everybody = sorted({recording.speaker for recording in find_recordings(options.data)})
    after = dict(zip(everybody, [*everybody[1:], everybody[0]], strict=True))
    unknown = sorted(set(options.speakers or ()) - set(everybody))
    if unknown:
        raise SystemExit(f"--speakers {unknown[0]}: {options.data} has {', '.join(everybody)}.")

    def one(speaker: str) -> dict[str, Any]:
        row = fold(options, speaker, after[speaker])
        print(
            f"{speaker}: trained in {row['training_seconds']} s; k {row['k']}; certified at "
            f"{TARGET}: {down(row['certified'][','.join(map(str, TARGET))])}",
            flush=True,
        )
        return row

    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(one, options.speakers or everybody))
    text = markdown(rows)
    (options.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
