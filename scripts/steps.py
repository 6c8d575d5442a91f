"""Steps of an experiment: commands in processes of their own, and what they left.

A step that has finished is not repeated; one that was asked for differently is refused, so that an
experiment never mixes settings. The experiments beside this file import it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq


def run(
    run_dir: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> float:
    """One command on one core, unless it has finished before; its CPU time in seconds.

    Output goes to a log beside ``run_dir``; a failure ends the experiment with the end of it.
    """
    mark, log = run_dir.with_name(run_dir.name + ".done"), run_dir.with_name(run_dir.name + ".log")
    asked = [module, *arguments]
    if mark.is_file():
        done = json.loads(mark.read_text())
        if done["arguments"] != asked:
            raise SystemExit(
                f"{run_dir} was made by another line ({' '.join(done['arguments'])}); choose "
                f"another --out, or remove {mark}."
            )
        return float(done["seconds"])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"mmcert.cli.{module}", *arguments, f"run_dir={run_dir}"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            | dict(environment or {}),
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mmcert-{module} failed; see {log}:\n{log.read_text()[-2000:]}")
    seconds = round(usage.ru_utime + usage.ru_stime, 1)
    print(f"{run_dir}: {seconds:.0f} s of CPU", flush=True)
    mark.write_text(json.dumps({"arguments": asked, "seconds": seconds}))
    return seconds


def certified_at(run_dir: Path, *names: str) -> dict[tuple[int, ...], float]:
    """Certified accuracy by budget of the named modalities, ``margin``, each sample at alpha."""
    metrics = json.loads((run_dir / "metrics.json").read_text())
    wanted = {"statistics": "margin", "claim": "robust", "guarantee": "per_sample"}
    result = next(one for one in metrics["results"] if wanted.items() <= one.items())
    return {
        tuple(point["budget"][name] for name in names): point["certified_accuracy"]
        for point in result["grid"]
    }


def ensemble_accuracy(run_dir: Path) -> float:
    """Share of samples whose true label has strictly the most votes."""
    rows = pq.read_table(
        run_dir / "certificates.parquet", columns=["statistics", "predicted", "target"]
    ).to_pylist()
    first = rows[0]["statistics"]  # each of the statistics has a row of every sample
    return statistics.fmean(
        row["predicted"] == row["target"] for row in rows if row["statistics"] == first
    )
