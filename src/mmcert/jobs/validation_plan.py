"""Retained counts chosen for a target budget on validation votes; the test split is not touched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mmcert.certification.prediction import predict
from mmcert.errors import ConfigError
from mmcert.jobs.plan_document import Candidate, plan_document, point_at
from mmcert.jobs.plan_effort import SHARE, Effort, choose_effort, stored_effort, write_effort
from mmcert.jobs.plan_goal import plan_goal
from mmcert.jobs.plan_search import Counts, Search, coordinates, retained
from mmcert.jobs.plan_votes import Counted, ValidationVotes, VotingStoppedError
from mmcert.quoting import command_line
from mmcert.records.atomic import write_json
from mmcert.records.run import package_versions
from mmcert.reporting.planned import candidate_line, document_tables, document_text
from mmcert.saying import say
from mmcert.voting.processes import asked_processes
from mmcert.voting.settings import VotingSettings
from mmcert.voting.started import started_outside

#: The scheme that is planned for gets so many parts of the time, each other one a single one.
MAIN_SHARE = 2


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
    say(console, document_text(document))
    say(console, f"Plan: {path}\nCertify with it:\n  {command_line('certify', plan=path)}")
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
            TextColumn("{task.description}", markup=False),
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
        goal, candidates = self._goal, list(self._candidates.values())
        if not any(candidate.scheme == goal.scheme for candidate in candidates):
            raise ConfigError(
                f"no k of {goal.scheme} was voted within plan.minutes="
                f"{self._limit / 60:g}; raise it, or lower plan.draws or plan.samples."
            )
        return plan_document(
            goal,
            candidates,
            draws=self._effort.draws,
            processes=self._cores,
            test_minutes=self._settings.get("test_minutes"),
            until=self._began + self._limit,
        ) | {
            "search": {
                "minutes": self._limit / 60,
                "seconds": time.monotonic() - self._began,
                "test_minutes": self._settings.get("test_minutes"),
                "ended_by_time": [scheme for scheme, cut in self._unseen.items() if cut],
            },
            "versions": package_versions(),
        }

    def _measured_effort(self) -> Effort:
        """What one candidate may cost; of an interrupted plan, what it cost there."""
        draws = int(self._settings.get("draws") or min(self._goal.draws, 1000))
        samples = min(int(self._settings.get("samples") or 32), len(self._goal.ids))
        path = self._run_dir / "validation" / "effort.json"
        kept = stored_effort(path, draws, samples)
        if kept is not None:
            return kept
        probe = ValidationVotes(self._goal.given, self._run_dir / "validation" / "probe")

        def measure() -> Counted:
            return probe.count(
                self._goal.scheme,
                self._goal.k,
                self._goal.goal.option,
                draws=min(draws, 64),
                samples=1,
                processes=1,
                until=self._until,
                show=lambda done, total: None,
            )

        counted = measure()
        per_draw = 1 / counted.draws_per_second if counted.draws_per_second else 1e-6
        # Once more: what is not voting, without what only the first time takes (imports, caches).
        overhead = measure().seconds
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
            reach, value = goal.in_reach(scheme, k, goal.draws), 0.0
            # The counts of the checkpoint are the reference of every curve: always voted.
            if reach or (scheme == goal.scheme and counts == start):
                candidate = self._candidate(scheme, counts, k, until)
                if candidate is None:
                    return None
                value = point_at(candidate.curve, goal.target).value or 0.0
            # Out of reach, less is nearer: the search must not end where all certify nothing yet.
            return value if reach else -goal.delta(scheme, k)

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
        at = point_at(made.curve, self._goal.target)
        self._say(candidate_line(scheme, k, at.plain(), self._goal.goal.metric, self._spent()))
        return made

    def _show(self, done: int, total: int) -> None:
        self._progress.update(
            self._task, completed=done, total=total, at=f"{done}/{total} draws, {self._spent()}"
        )

    def _spent(self) -> str:
        return f"{(time.monotonic() - self._began) / 60:.1f} of {self._limit / 60:g} min"

    def _say(self, line: str) -> None:
        say(self._console, line)


def _text(k: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in k.items())
