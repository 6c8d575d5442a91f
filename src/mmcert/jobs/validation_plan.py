"""Retained counts chosen for a target budget on validation votes; the test split is not touched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mmcert.certification.prediction import Prediction, predict
from mmcert.errors import ConfigError
from mmcert.jobs.plan_effort import SHARE, Effort, choose_effort, stored_effort, write_effort
from mmcert.jobs.plan_goal import plan_goal
from mmcert.jobs.plan_search import Counts, Search, coordinates, retained
from mmcert.jobs.plan_votes import Counted, ValidationVotes, VotingStoppedError
from mmcert.records.atomic import write_json
from mmcert.records.plan import KIND, SCHEMA
from mmcert.records.run import package_versions
from mmcert.reporting.planned import candidate_line, document_tables, document_text
from mmcert.voting.processes import asked_processes
from mmcert.voting.settings import VotingSettings
from mmcert.voting.started import started_outside

#: Numbers of draws that a plan compares besides the one that is set.
LADDER = (100, 200, 500, 1000, 2000, 5000, 10000)
#: The scheme that is planned for gets so many parts of the time, each other one a single one.
MAIN_SHARE = 2


@dataclass(frozen=True)
class Candidate:
    """A scheme and k that was voted on.

    Args:
        scheme: Name.
        k: Retained elements.
        counted: Validation votes.
        curve: The predicted figure along the ray.
    """

    scheme: str
    k: Mapping[str, int]
    counted: Counted
    curve: tuple[Prediction, ...]


def plan_on_validation(
    config: Mapping[str, Any], run_dir: Path, console: Console, began: float
) -> dict[str, Any]:
    """Search k by validation votes, and write ``run_dir/plan.json`` and its figure.

    Args:
        config: Plain configuration, the keys of ``conf/plan.yaml``, with ``checkpoint``.
        run_dir: Where the plan goes; validation votes under ``validation/`` are kept, and used
            again by a plan that goes on.
        console: Where a person reads.
        began: ``time.monotonic()`` from which the time limit counts.

    Returns:
        The content of ``plan.json``.

    Raises:
        MmcertError: For whatever does not fit together.
    """
    if started_outside() is not None:
        raise ConfigError(
            "mmcert-plan starts its own processes (voting.processes); run it without srun or "
            "torchrun."
        )
    document = _Planner(config, run_dir, console, began).run()
    path = run_dir / "plan.json"
    write_json(path, document)
    from mmcert.reporting.figures.plan import write_plan_figure

    write_plan_figure(document, run_dir / "figures" / "plan.png")
    for table in document_tables(document):
        console.print(table)
        console.print()
    console.print(document_text(document), markup=False, highlight=False)
    console.print(f"Plan: {path}", soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"Certify with it: mmcert-certify plan={path}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    return document


class _Planner:
    """One plan, from the first probe to the document."""

    def __init__(
        self, config: Mapping[str, Any], run_dir: Path, console: Console, began: float
    ) -> None:
        self._began = began
        self._config, self._run_dir, self._console = config, run_dir, console
        self._settings = settings = dict(config.get("plan") or {})
        minutes = settings.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0:
            raise ConfigError(f"plan.minutes={minutes}: give the time limit in minutes, above 0.")
        self._limit = 60.0 * minutes
        # What is left serves the predictions for other numbers of draws, and the figure.
        self._until = self._began + SHARE * self._limit
        self._goal = plan_goal(config)
        self._votes = ValidationVotes(self._goal.given, run_dir / "validation")
        voting = {**self._goal.given["voting"], "draws": 1, "processes": self._goal.processes}
        self._cores = asked_processes(VotingSettings.from_config(voting), None)
        self._candidates: dict[tuple[str, Counts], Candidate] = {}
        self._cost = 0.0  # seconds of the dearest candidate so far
        self._unseen: dict[str, bool] = {}

    def run(self) -> dict[str, Any]:
        """Search for every scheme in turn, and say what was found."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[at]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        ) as self._progress:
            self._task = self._progress.add_task("measuring", total=None, at="")
            self._effort = self._measured_effort()
            for scheme, until in self._shares():
                self._search(scheme, until)
        if not any(c.scheme == self._goal.scheme for c in self._candidates.values()):
            raise ConfigError(
                f"no k of {self._goal.scheme} was voted within plan.minutes="
                f"{self._limit / 60:g}; raise it, or lower plan.draws or plan.samples."
            )
        return self._document()

    def _measured_effort(self) -> Effort:
        """What one candidate may cost; of an interrupted plan, what it cost there."""
        draws = int(self._settings.get("draws") or min(self._goal.draws, 1000))
        samples = min(int(self._settings.get("samples") or 32), len(self._goal.ids))
        path = self._run_dir / "validation" / "effort.json"
        kept = stored_effort(path, draws, samples)
        if kept is not None:
            return kept
        began = time.monotonic()
        probe = ValidationVotes(self._goal.given, self._run_dir / "validation" / "probe")
        counted = probe.count(
            self._goal.scheme,
            self._goal.k,
            self._goal.goal.option,
            draws=min(draws, 64),
            samples=1,
            processes=1,
            until=self._until,
            show=lambda done, total: None,
        )
        per_draw = 1 / counted.draws_per_second if counted.draws_per_second else 1e-6
        overhead = max(0.0, time.monotonic() - began - per_draw * min(draws, 64))
        effort = choose_effort(
            draws=draws,
            samples=samples,
            seconds_per_draw=per_draw,
            overhead=overhead,
            processes=self._goal.processes,
            cores=self._cores,
            seconds=self._until - time.monotonic(),
        )
        write_effort(path, effort, draws, samples)
        said = "" if effort.draws == draws and effort.samples == samples else " (time limit)"
        self._say(
            f"Validation votes at each k: {effort.draws} draws of {effort.samples} of the "
            f"{len(self._goal.ids)} samples of '{self._goal.given['data']['split']}'{said}."
        )
        return effort

    def _shares(self) -> list[tuple[str, float]]:
        """When each scheme's search ends at the latest."""
        shares = {s: MAIN_SHARE if s == self._goal.scheme else 1 for s in self._goal.schemes}
        start, ends, spent = time.monotonic(), [], 0
        for scheme, share in shares.items():
            spent += share
            ends.append((scheme, start + (self._until - start) * spent / sum(shares.values())))
        return ends

    def _search(self, scheme: str, until: float) -> None:
        goal = self._goal
        start, most = coordinates(scheme, goal.k, goal.n)

        def score(counts: Counts) -> float | None:
            k = retained(scheme, counts, goal.n)
            # The counts of the checkpoint are the reference of every curve: always voted.
            reference = scheme == goal.scheme and counts == start
            if not reference and not goal.in_reach(scheme, k, goal.draws):
                return -goal.delta(scheme, k)
            candidate = self._candidate(scheme, counts, k, until)
            if candidate is None:
                return None
            value = _at(candidate.curve, goal.target).value
            return 0.0 if value is None else value

        search = Search(start, most, score)
        for given in self._given_counts(scheme):
            search.start_from(given)
        self._unseen[scheme] = not search.run()

    def _given_counts(self, scheme: str) -> list[Counts]:
        """``plan.candidates``: counts that the user wants tried."""
        given = self._settings.get("candidates") or []
        if not isinstance(given, list):
            raise ConfigError("plan.candidates must be a list, e.g. [{rgb: 500, depth: 60}].")
        found = []
        for k in given:
            self._goal.make(self._goal.scheme, k)
            ordered = {name: int(k[name]) for name in self._goal.n}
            found.append(coordinates(scheme, ordered, self._goal.n)[0])
        return found

    def _candidate(
        self, scheme: str, counts: Counts, k: dict[str, int], until: float
    ) -> Candidate | None:
        """Its votes and curve; None where the time does not allow it."""
        now = time.monotonic()
        there = (self._votes.folder(scheme, k) / "run.json").is_file()
        if not there and now + self._cost > until:
            return None
        self._progress.update(self._task, description=f"{scheme} {_text(k)}")
        try:
            counted = self._votes.count(
                scheme,
                k,
                self._goal.goal.option,
                draws=self._effort.draws,
                samples=self._effort.samples,
                processes=self._effort.processes,
                until=self._until,
                show=self._show,
            )
        except VotingStoppedError:
            return None
        curve = predict(counted.samples, counted.meta, self._goal.goal, self._goal.draws)
        self._cost = max(self._cost, time.monotonic() - now)
        made = Candidate(scheme, k, counted, tuple(curve))
        self._candidates[scheme, counts] = made
        at = _at(made.curve, self._goal.target)
        self._say(candidate_line(scheme, k, at.plain(), self._goal.goal.metric, self._spent()))
        return made

    def _show(self, done: int, total: int) -> None:
        self._progress.update(
            self._task, completed=done, total=total, at=f"{done}/{total} draws, {self._spent()}"
        )

    def _spent(self) -> str:
        return f"{(time.monotonic() - self._began) / 60:.1f} of {self._limit / 60:g} min"

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)

    def _minutes(self, candidate: Candidate, draws: int) -> float | None:
        """Of voting on the test split on this machine."""
        rate = candidate.counted.draws_per_second
        if not rate:
            return None
        return self._goal.test_samples * draws / (rate * self._cores) / 60

    def _trade_offs(self, candidates: list[Candidate]) -> list[dict[str, Any]]:
        """The figure at the target for numbers of draws and every k: value against minutes."""
        rows = []
        for candidate in candidates:
            for N in sorted({*LADDER, self._goal.draws}):
                if not self._goal.in_reach(candidate.scheme, candidate.k, N):
                    continue
                # Beyond ten times the draws that were voted an extrapolation says little.
                if 10 * self._effort.draws < N and self._goal.draws != N:
                    continue
                if rows and time.monotonic() > self._began + self._limit:
                    return rows
                votes = candidate.counted
                curve = predict(votes.samples, votes.meta, self._goal.goal, N)
                rows.append(
                    {
                        "scheme": candidate.scheme,
                        "k": dict(candidate.k),
                        "draws": N,
                        "minutes": self._minutes(candidate, N),
                        "extrapolated": self._effort.draws < N,
                        **_at(curve, self._goal.target).plain(),
                    }
                )
        return rows

    def _document(self) -> dict[str, Any]:
        goal, target = self._goal, self._goal.target
        best = {}
        for scheme in goal.schemes:
            of_scheme = [c for c in self._candidates.values() if c.scheme == scheme]
            if of_scheme:
                best[scheme] = max(
                    of_scheme, key=lambda c: (_at(c.curve, target).value or 0.0, -sum(c.k.values()))
                )
        main = [c for c in self._candidates.values() if c.scheme == goal.scheme]
        main.sort(key=lambda c: -(_at(c.curve, target).value or 0.0))
        rows = self._trade_offs(main[:4])
        draws = {scheme: (candidate, goal.draws) for scheme, candidate in best.items()}
        limit = self._settings.get("test_minutes")
        if limit is not None:
            draws[goal.scheme] = self._within(rows, main, float(limit))
        chosen = {scheme: self._chosen(candidate, N) for scheme, (candidate, N) in draws.items()}
        given = goal.given
        data = {key: given["data"].get(key) for key in ("name", "root", "options")}
        if data["root"] is not None:
            data["root"] = str(Path(data["root"]).resolve())
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "checkpoint": {"path": goal.checkpoint, "sha256": goal.sha256},
            "chosen_on": {
                "split": given["data"]["split"],
                "data": data,
                "ids": sorted(sample.id for sample in main[0].counted.samples),
                "draws": self._effort.draws,
                "seed": given["seed"],
            },
            "target": {
                "budget": dict(target),
                "metric": goal.goal.metric,
                "statistics": goal.goal.option.name,
                "guarantee": goal.goal.guarantee,
                "kinds": dict(goal.goal.kinds),
            },
            "certify": {
                "split": goal.split,
                "samples": goal.test_samples,
                "budgets": [dict(budget) for budget in goal.goal.budgets],
                "statistics": dict(goal.statistics),
                "alpha": goal.goal.alpha,
            },
            "interval": {"coverage": goal.goal.coverage},
            "chosen": chosen[goal.scheme],
            "best": chosen,
            "candidates": [
                self._chosen(candidate, goal.draws, candidate.curve)
                for candidate in self._candidates.values()
            ],
            "trade_offs": rows,
            "reference": dict(goal.k),
            "n": dict(goal.n),
            "search": {
                "minutes": self._limit / 60,
                "seconds": time.monotonic() - self._began,
                "test_minutes": limit,
                "ended_by_time": [scheme for scheme, cut in self._unseen.items() if cut],
            },
            "versions": package_versions(),
        }

    def _within(
        self, rows: list[dict[str, Any]], main: list[Candidate], limit: float
    ) -> tuple[Candidate, int]:
        """The k and draws with the best prediction that the minutes for the test split allow."""
        allowed = [row for row in rows if row["minutes"] is not None and row["minutes"] <= limit]
        if not allowed:
            least = min((row["minutes"] for row in rows if row["minutes"]), default=None)
            raise ConfigError(
                f"plan.test_minutes={limit:g} allows no number of draws that could certify the "
                f"target on {self._goal.test_samples} samples here"
                + (f"; the least that could takes {least:.1f} minutes." if least else ".")
            )
        row = max(allowed, key=lambda row: (row["value"] or 0.0, -row["minutes"]))
        return next(c for c in main if dict(c.k) == row["k"]), row["draws"]

    def _chosen(
        self, candidate: Candidate, N: int, curve: tuple[Prediction, ...] | None = None
    ) -> dict[str, Any]:
        if curve is None:
            curve = candidate.curve
            if self._goal.draws != N:
                votes = candidate.counted
                curve = tuple(predict(votes.samples, votes.meta, self._goal.goal, N))
        return {
            "scheme": candidate.scheme,
            "k": dict(candidate.k),
            "draws": N,
            "minutes": self._minutes(candidate, N),
            "delta": self._goal.delta(candidate.scheme, candidate.k),
            "at_target": _at(curve, self._goal.target).plain(),
            "curve": [point.plain() for point in curve],
        }


def _at(curve: tuple[Prediction, ...] | list[Prediction], target: Mapping[str, int]) -> Prediction:
    return next(point for point in curve if dict(point.budget) == dict(target))


def _text(k: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in k.items())
