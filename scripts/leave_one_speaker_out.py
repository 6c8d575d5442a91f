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
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from steps import certified_at, ensemble_accuracy, run

from mmcert.data.digits.avmnist_files import find_recordings
from mmcert.reporting.rounding import rounded_down

#: What the retained counts are chosen for: changed pixels, changed chunks of sound.
TARGET = (4, 1)
#: Counts whose certified accuracy is so close to the best are as good as it: 300 validation pairs
#: have a standard error of .027.
AS_GOOD = 0.02
BUDGETS = ((0, 0), (4, 0), (0, 1), (4, 1), (8, 1), (4, 2), (8, 2))


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
        found[k["image"], k["audio"]] = certified_at(path.parent, "image", "audio")[TARGET]
    return found


def fold(options: argparse.Namespace, speaker: str, validation: str) -> dict[str, Any]:
    """Train, choose, certify one speaker; what is in the table about it."""
    folder = options.out / speaker
    training, chosen = folder / "training", folder / "validation"
    certified = folder / "certified"
    seconds = run(
        training,
        "train",
        "experiment=avmnist_speakers_mmcert",
        f"data.root={options.data}",
        f"data.options.test_speaker={speaker}",
        f"data.options.validation_speaker={validation}",
        f"seed={options.seed}",
        "callbacks.progress=null",
        *options.set,
    )
    run(
        chosen,
        "certify",
        "sweep=avmnist_retained",
        f"checkpoint={training}",
        f"data.max_samples={options.validation_samples}",
        "voting.processes=1",
    )
    candidates = choose(chosen)
    image, audio = best_counts(candidates)
    pairs = ", ".join(f"{{image: {r}, audio: {s}}}" for r, s in BUDGETS)
    run(
        certified,
        "certify",
        f"checkpoint={training}",
        f"scheme.k={{image: {image}, audio: {audio}}}",
        f"data.max_samples={options.samples}",
        f"voting.draws={options.draws}",
        "voting.processes=1",
        "threat.grid=null",
        f"threat.budgets=[{pairs}]",
    )
    at = certified_at(certified, "image", "audio")
    return {
        "speaker": speaker,
        "validation": validation,
        "k": [image, audio],
        "candidates": {f"{a},{b}": value for (a, b), value in sorted(candidates.items())},
        "training_seconds": seconds,
        "ensemble_accuracy": ensemble_accuracy(certified),
        "certified": {f"{r},{s}": value for (r, s), value in at.items()},
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
        cells = " | ".join(rounded_down(value) for value in values(row))
        image, audio = row["k"]
        lines.append(f"| {row['speaker']} | {row['validation']} | ({image}, {audio}) | {cells} |")
    table = list(zip(*map(values, rows), strict=True))
    means = " | ".join(rounded_down(statistics.fmean(column)) for column in table)
    ranges = " | ".join(
        f"{rounded_down(min(column))} to {rounded_down(max(column))}" for column in table
    )
    lines += [f"| **mean** | | | {means} |", f"| range | | | {ranges} |"]
    return "\n".join(lines) + "\n"


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
            f"{TARGET}: {rounded_down(row['certified'][','.join(map(str, TARGET))])}",
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
