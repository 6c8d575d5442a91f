#!/usr/bin/env python3
"""Kills processes of trainings and votings at random moments and demands that nothing was lost.

    scripts/stress_kills.py --kills 100

Two processes train, and vote, on a miniature of synthetic roads. Again and again SIGKILL hits one
of them, the command that started them, or all at once; the same command line is run again until it
ends. Demanded each time: every process is gone within a minute, a command whose process died says
so in one sentence, and the weights, votes and metrics at the end are those of a run that nobody
disturbed. Ends with status 1 where anything else was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

COMMANDS = Path(sys.executable).parent
TINY = (
    "model.options.grid=[8,24]",
    "model.options.widths=[8,8,16,16]",
    "scheme.k={rgb: 200, depth: 40}",
    "threat.grid={rgb: [0, 1, 2], depth: [0, 2, 4]}",
    "data.batch_size=2",
    "task.validation_draws=2",
    "trainer.max_epochs=12",
    "trainer.check_val_every_n_epoch=3",
    "trainer.devices=2",
    "callbacks.progress=null",
    "logger=none",
)
LONG = ("voting.processes=2", "voting.draws=1200", "voting.block=4", "voting.segment_seconds=0.1")
#: Seconds that processes have to notice, and to end.
NOTICE = 60.0
TARGETS = ("one", "parent", "all")


class Stress:
    """The miniature, its undisturbed results, and what was seen."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.faults: list[str] = []
        self.finished = 0
        roads = folder / "roads"
        self.call("mmcert-prepare", "dataset=synthetic_roads", "size=[32,96]", "scenes=12",
                  f"out={roads}", "seed=0", "workers=1")  # fmt: skip
        self.lines = {"training": ("mmcert-train", *TINY, f"data.root={roads}")}
        self.seconds: dict[str, float] = {}
        self.reference("training")
        trained = folder / "reference_training"
        self.lines["voting"] = (
            "mmcert-certify", f"checkpoint={trained}", "data.split=train", *LONG
        )  # fmt: skip
        self.reference("voting")

    def call(self, *line: str) -> None:
        """Run a command to its end."""
        subprocess.run([COMMANDS / line[0], *line[1:]], check=True, capture_output=True)

    def reference(self, kind: str) -> None:
        """What a run leaves that nobody disturbs, and how long it takes."""
        began = time.monotonic()
        self.call(*self.lines[kind], f"run_dir={self.folder / f'reference_{kind}'}")
        self.seconds[kind] = time.monotonic() - began

    def run(self, kind: str, number: int, most: int) -> None:
        """Disturb one run until it ends, or until there were enough kills; then let it end."""
        run_dir = self.folder / f"{kind}_{number}"
        while True:
            # Most of the time goes into imports, where there is little to lose.
            moment = self.chance.uniform(0.25, 1.05) * self.seconds[kind]
            log = open(self.folder / "log.txt", "w+", encoding="utf-8")  # noqa: SIM115
            with log:
                process = subprocess.Popen(
                    [COMMANDS / self.lines[kind][0], *self.lines[kind][1:], f"run_dir={run_dir}"],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                if sum(self.kills.values()) < most:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(moment)
                    target = self.kill(process) if process.poll() is None else "nothing"
                else:
                    target = "nothing"
                self.settle(process, target, log, f"{kind} {number}, {target} killed")
                if process.returncode == 0:
                    break
        self.compare(kind, run_dir)
        self.finished += 1

    def kill(self, process: subprocess.Popen[bytes]) -> str:
        """Kill something; what."""
        target = self.chance.choice(TARGETS)
        others = [other for other in members(process.pid) if other != process.pid]
        if target == "one" and not others:
            target = "parent"
        doomed = {
            "one": [self.chance.choice(others)] if others else [],
            "parent": [process.pid],
            "all": [process.pid, *others],
        }[target]
        for other in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(other, signal.SIGKILL)
        self.kills[target] += 1
        return target

    def settle(self, process: subprocess.Popen[bytes], target: str, log: object, what: str) -> None:
        """Wait for the end of all processes, and read what the command said."""
        limit = NOTICE if target in ("parent", "all") else NOTICE + 10 * max(self.seconds.values())
        until = time.monotonic() + limit
        while members(process.pid) and time.monotonic() < until:
            process.poll()
            time.sleep(0.1)
        left = members(process.pid)
        if left:
            names = [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in left]
            self.faults.append(f"{what}: after {limit:.0f} s there is still {names}")
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        process.wait()
        log.seek(0)  # type: ignore[attr-defined]
        said = log.read()  # type: ignore[attr-defined]
        explained = "SIGKILL" in said and "Traceback" not in said
        if process.returncode != 0 and target in ("one", "nothing") and not explained:
            self.faults.append(f"{what}: it said {said[-2000:]}")
        if target == "nothing" and process.returncode != 0:
            raise SystemExit(f"{what}: undisturbed, it ended with {process.returncode}: {said}")

    def compare(self, kind: str, run_dir: Path) -> None:
        """What a run left, against the run that nobody disturbed."""
        for fact, ours in results(kind, run_dir).items():
            theirs = results(kind, self.folder / f"reference_{kind}")[fact]
            if not same(ours, theirs):
                self.faults.append(f"{run_dir.name}: {fact} is not that of the undisturbed run")


def members(session: int) -> list[int]:
    """Living processes of a session, its leader included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(group) == session and state not in "ZX":
                found.append(int(entry.name))
    return found


def results(kind: str, run_dir: Path) -> dict[str, object]:
    """What must be identical."""
    if kind == "training":
        last, best = (
            torch.load(run_dir / "checkpoints" / name, weights_only=True)["state_dict"]
            for name in ("last.ckpt", "best.ckpt")
        )
        return {"last.ckpt": last, "best.ckpt": best}
    votes = {path.name: path.read_bytes() for path in sorted((run_dir / "votes").glob("*.npz"))}
    return {"votes": votes, "metrics.json": (run_dir / "metrics.json").read_bytes()}


def same(one: object, other: object) -> bool:
    """Equality that knows tensors."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        stress = Stress(Path(folder), options.seed)
        for number in range(2 * options.kills):
            if sum(stress.kills.values()) >= options.kills:
                break
            stress.run(("training", "voting")[number % 2], number, options.kills)
            kills = ", ".join(f"{stress.kills[target]} {target}" for target in TARGETS)
            print(
                f"{sum(stress.kills.values())} kills ({kills}), {stress.finished} runs finished, "
                f"{len(stress.faults)} faults",
                flush=True,
            )
    print("\n".join(stress.faults) or "Every result is that of an undisturbed run.")
    return bool(stress.faults)


if __name__ == "__main__":
    raise SystemExit(main())
