"""What a search over validation votes found, as the content of ``plan.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcert.certification.prediction import Prediction, predict
from mmcert.errors import ConfigError
from mmcert.jobs.plan_goal import PlanGoal
from mmcert.jobs.plan_votes import Counted
from mmcert.records.plan import KIND, SCHEMA

#: Numbers of draws that a plan compares besides the one that is set.
LADDER = (100, 200, 500, 1000, 2000, 5000, 10000)
#: So many times the draws that were voted, an extrapolation still says something.
FURTHEST = 10
#: The best so many k are compared at other numbers of draws.
COMPARED = 4


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


def point_at(curve: Sequence[Prediction], budget: Mapping[str, int]) -> Prediction:
    """The prediction at a budget of the ray."""
    return next(point for point in curve if dict(point.budget) == dict(budget))


def plan_document(
    goal: PlanGoal,
    candidates: Sequence[Candidate],
    *,
    draws: int,
    processes: int,
    test_minutes: float | None,
    until: float,
) -> dict[str, Any]:
    """The content of ``plan.json``, but for what the search took.

    Args:
        goal: What is planned for.
        candidates: All that were voted on, at least one of the scheme that is planned for.
        draws: Validation draws per sample.
        processes: That the certification will have.
        test_minutes: Time for voting on the split that is certified; None: N as set.
        until: ``time.monotonic()`` at which no further number of draws is compared.

    Raises:
        ConfigError: Where ``test_minutes`` allows nothing.
    """

    def value(candidate: Candidate) -> tuple[float, int]:
        at = point_at(candidate.curve, goal.target).value
        return at or 0.0, -sum(candidate.k.values())  # of equal ones the one that shows less

    best = {
        scheme: max((c for c in candidates if c.scheme == scheme), key=value)
        for scheme in goal.schemes
        if any(c.scheme == scheme for c in candidates)
    }
    main = sorted((c for c in candidates if c.scheme == goal.scheme), key=value, reverse=True)
    rows = _trade_offs(goal, main[:COMPARED], draws, processes, until)
    entries = {
        scheme: _entry(goal, candidate, goal.draws, processes) for scheme, candidate in best.items()
    }
    if test_minutes is not None:
        row = _within(goal, rows, float(test_minutes))
        candidate = next(c for c in main if dict(c.k) == row["k"])
        entries[goal.scheme] = _entry(goal, candidate, row["draws"], processes)
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "checkpoint": {"path": goal.checkpoint, "sha256": goal.sha256},
        "chosen_on": {
            "split": goal.given["data"]["split"],
            "data": _data(goal),
            "ids": sorted(sample.id for sample in main[0].counted.samples),
            "draws": draws,
            "seed": goal.given["seed"],
        },
        "target": {
            "budget": dict(goal.target),
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
        "chosen": entries[goal.scheme],
        "best": entries,
        "candidates": [_entry(goal, c, goal.draws, processes) for c in candidates],
        "trade_offs": rows,
        "reference": dict(goal.k),
        "n": dict(goal.n),
    }


def _data(goal: PlanGoal) -> dict[str, Any]:
    """The data as the command line named them; None: as in the checkpoint."""
    data = {key: goal.given["data"].get(key) for key in ("name", "root", "options")}
    if data["root"] is not None:
        data["root"] = str(Path(data["root"]).resolve())
    return data


def _minutes(goal: PlanGoal, candidate: Candidate, draws: int, processes: int) -> float | None:
    """Of voting on the split that is certified, on this machine."""
    rate = candidate.counted.draws_per_second
    return goal.test_samples * draws / (rate * processes) / 60 if rate else None


def _trade_offs(
    goal: PlanGoal,
    candidates: Sequence[Candidate],
    voted: int,
    processes: int,
    until: float,
) -> list[dict[str, Any]]:
    """The figure at the target for several k and numbers of draws, with the minutes they take."""
    rows: list[dict[str, Any]] = []
    for N in sorted({*LADDER, goal.draws}):
        if voted * FURTHEST < N != goal.draws:
            continue
        for candidate in candidates:
            if not goal.in_reach(candidate.scheme, candidate.k, N):
                continue
            if rows and time.monotonic() > until:
                return rows
            curve = _curve(goal, candidate, N)
            rows.append(
                {
                    "scheme": candidate.scheme,
                    "k": dict(candidate.k),
                    "draws": N,
                    "minutes": _minutes(goal, candidate, N, processes),
                    "extrapolated": voted < N,
                    **point_at(curve, goal.target).plain(),
                }
            )
    return rows


def _within(goal: PlanGoal, rows: Sequence[Mapping[str, Any]], limit: float) -> Mapping[str, Any]:
    """The row with the best prediction that the minutes allow."""
    known = [row for row in rows if row["minutes"] is not None]
    allowed = [row for row in known if row["minutes"] <= limit]
    if not allowed:
        least = min((row["minutes"] for row in known), default=None)
        raise ConfigError(
            f"plan.test_minutes={limit:g} allows no number of draws that could certify the target "
            f"on {goal.test_samples} samples here"
            + ("." if least is None else f"; the least that could takes {least:.1f} minutes.")
        )
    return max(allowed, key=lambda row: (row["value"] or 0.0, -row["minutes"]))


def _curve(goal: PlanGoal, candidate: Candidate, N: int) -> tuple[Prediction, ...]:
    if goal.draws == N:
        return candidate.curve
    votes = candidate.counted
    return tuple(predict(votes.samples, votes.meta, goal.goal, N))


def _entry(goal: PlanGoal, candidate: Candidate, N: int, processes: int) -> dict[str, Any]:
    curve = _curve(goal, candidate, N)
    return {
        "scheme": candidate.scheme,
        "k": dict(candidate.k),
        "draws": N,
        "minutes": _minutes(goal, candidate, N, processes),
        "delta": goal.delta(candidate.scheme, candidate.k),
        "at_target": point_at(curve, goal.target).plain(),
        "curve": [point.plain() for point in curve],
    }
