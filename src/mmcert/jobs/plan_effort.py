"""How many validation votes a time limit allows, measured before the first ones are counted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mmcert.errors import ConfigError
from mmcert.records.atomic import read_json, write_json

#: A search is worth its name with at least so many k of the scheme that is planned for.
LEAST_CANDIDATES = 8
#: Fewer draws, and fewer samples, than these say too little.
LEAST_DRAWS, LEAST_SAMPLES = 40, 4
#: Part of the limit that is for votes; the rest is for what comes after them.
SHARE = 0.9
#: One process is as fast as several where starting them takes longer than voting.
SECONDS_ALONE = 30.0


@dataclass(frozen=True)
class Effort:
    """Votes of one candidate.

    Args:
        draws: Per validation sample.
        samples: Validation samples.
        processes: That vote; None: one per core, or one per GPU.
    """

    draws: int
    samples: int
    processes: int | None


def choose_effort(
    *,
    draws: int,
    samples: int,
    seconds_per_draw: float,
    overhead: float,
    processes: int | None,
    cores: int,
    seconds: float,
) -> Effort:
    """As much as was asked for; less where the time does not allow :data:`LEAST_CANDIDATES`.

    Draws are given up first, down to :data:`LEAST_DRAWS`, then samples.

    Args:
        draws: Asked for per sample.
        samples: Asked for.
        seconds_per_draw: Of one process.
        overhead: Seconds of a candidate that are not voting.
        processes: As configured.
        cores: Processes where that is None.
        seconds: That votes may take.

    Raises:
        ConfigError: Where the time does not even allow one candidate with the least votes.

    >>> choose_effort(draws=100, samples=16, seconds_per_draw=.1, overhead=1, processes=1, cores=2,
    ...               seconds=600)
    Effort(draws=46, samples=16, processes=1)
    """
    together = processes or cores
    per_candidate = seconds / LEAST_CANDIDATES - overhead
    allowed = int(per_candidate * together / seconds_per_draw)
    if draws * samples > allowed:
        draws = max(min(draws, LEAST_DRAWS), min(draws, allowed // samples))
        samples = max(min(samples, LEAST_SAMPLES), min(samples, max(allowed, 1) // draws))
    needed = overhead + draws * samples * seconds_per_draw / together
    if needed > seconds:
        raise ConfigError(
            f"plan.minutes leaves {seconds / 60:.1f} minutes for votes, too short for one k: "
            f"{samples} samples with {draws} draws take about {needed / 60:.1f} minutes here, and "
            f"a search tries about {LEAST_CANDIDATES}. Raise it, or lower plan.draws or "
            f"plan.samples."
        )
    alone = draws * samples * seconds_per_draw < SECONDS_ALONE
    return Effort(draws, samples, 1 if processes is None and alone else processes)


def stored_effort(path: Path, draws: int, samples: int) -> Effort | None:
    """The effort of an interrupted plan with the same wishes: its votes are of no use to another.

    Raises:
        RecordError: Where the file is broken.
    """
    if not path.is_file():
        return None
    document = read_json(path, "the effort of the plan", "remove it to measure again.")
    if [document.get("asked_draws"), document.get("asked_samples")] != [draws, samples]:
        return None
    return Effort(*(document[field.name] for field in dataclasses.fields(Effort)))


def write_effort(path: Path, effort: Effort, draws: int, samples: int) -> None:
    """Keep it for a plan that is gone on with."""
    asked = {"asked_draws": draws, "asked_samples": samples}
    write_json(path, {**dataclasses.asdict(effort), **asked})
