"""Which runs may be laid side by side, and what must be said when they differ."""

from __future__ import annotations

from collections.abc import Sequence

from mmcert.errors import ConfigError
from mmcert.reporting.runs import Run


def check_comparable(runs: Sequence[Run], *, allow_differences: bool = False) -> list[str]:
    """Refuse runs that answer different questions; return what the reader must be told.

    Another task, other modalities, other elements or another threat make two numbers
    incomparable, whatever anybody allows. Other test samples do too, unless
    ``allow_differences`` says that this is meant. Another alpha, number of draws, number of
    retained elements or seed is a legitimate thing to study and is stated.

    Raises:
        ConfigError: Naming both runs, the difference, and what to do.
    """
    notes: list[str] = []
    if not runs:
        raise ConfigError("runs= names no run directory; give at least one.")
    first = runs[0]
    for run in runs[1:]:
        _check_same_question(first, run)
        notes += _check_same_samples(first, run, allow_differences)
    if len(runs) > 1 and not shared_keys(runs):
        listed = "; ".join(
            f"{run.path}: {', '.join(sorted({r.statistics for r in run.results})) or 'none'}"
            for run in runs
        )
        raise ConfigError(
            f"the runs share no result with the same statistics, claim and guarantee ({listed}); "
            f"evaluate their votes with the same statistics= (mmcert-evaluate)."
        )
    notes += _differing(runs)
    return notes


def shared_keys(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The results that every run has, in the order of the first run."""
    return [
        result.key
        for result in runs[0].results
        if all(run.result(result.key) is not None for run in runs)
    ]


def _check_same_question(first: Run, run: Run) -> None:
    def refuse(what: str, ours: object, theirs: object) -> ConfigError:
        return ConfigError(
            f"not comparable: {first.path} has the {what} {ours}, {run.path} has {theirs}; "
            f"report them one by one (runs=[{run.path}])."
        )

    if run.task != first.task:
        raise refuse("task", first.task, run.task)
    if run.names != first.names:
        if set(run.names) != set(first.names):
            raise refuse("modalities", list(first.names), list(run.names))
        raise refuse("order of modalities", list(first.names), list(run.names))
    for ours, theirs in zip(first.scheme.modalities, run.scheme.modalities, strict=True):
        if ours.element != theirs.element:
            raise refuse(
                f"basic element of '{ours.name}'", repr(ours.element), repr(theirs.element)
            )
    if run.classes != first.classes:
        raise refuse("number of classes", first.classes, run.classes)
    for key in shared_keys([first, run]):
        one, other = first.result(key), run.result(key)
        if one is not None and other is not None and dict(one.threat) != dict(other.threat):
            raise refuse("threat", dict(one.threat), dict(other.threat))


def _check_same_samples(first: Run, run: Run, allow_differences: bool) -> list[str]:
    if run.ids != first.ids:
        common = len(set(first.ids) & set(run.ids))
        problem = (
            f"{first.label} was certified on {len(first.ids)} samples, {run.label} on "
            f"{len(run.ids)}, of which {common} are the same"
        )
        if not allow_differences:
            raise ConfigError(
                f"not comparable: {problem} ({first.path}, {run.path}); certify both with the same "
                f"data.split and seed, or set allow_differences=true to be told so in the report."
            )
        return [f"Not the same test samples: {problem}. The difference between them is no result."]
    changed = [i for i in first.ids if first.truth.get(i) != run.truth.get(i)]
    if not changed:
        return []
    problem = (
        f"{len(changed)} of {len(first.ids)} samples have the same id but another size or other "
        f"labels in {first.label} and in {run.label} (e.g. '{changed[0]}')"
    )
    if not allow_differences:
        raise ConfigError(
            f"not comparable: {problem} ({first.path}, {run.path}): the data were written with "
            f"another seed or have changed. Certify both on the same data, or set "
            f"allow_differences=true to be told so in the report."
        )
    return [f"Not the same test data: {problem}. The difference between them is no result."]


def _differing(runs: Sequence[Run]) -> list[str]:
    notes = []

    def listed(values: Sequence[object]) -> str:
        return ", ".join(f"{run.label}: {value}" for run, value in zip(runs, values, strict=True))

    for what, values, meaning in (
        (
            "failure probability alpha",
            [sorted({result.alpha for result in run.results}) for run in runs],
            "a larger alpha certifies more for that reason alone",
        ),
        (
            "number of draws N",
            [sorted({str(result.draws) for result in run.results}) for run in runs],
            "more draws certify more for that reason alone",
        ),
    ):
        if any(value != values[0] for value in values):
            text = listed([", ".join(map(str, value)) for value in values])
            notes.append(f"Different {what} ({text}): {meaning}.")
    retained = [run.retained for run in runs]
    if len(set(retained)) > 1:
        text = listed([f"{value:,}" for value in retained])
        notes.append(
            f"Different numbers of elements retained per draw ({text}): not at equal cost for the "
            f"base model."
        )
    seeds = [run.data_seed for run in runs]
    if len(set(seeds)) > 1 and all(seed is not None for seed in seeds):
        notes.append(f"Different data seeds ({listed(seeds)}): training sets differ.")
    keys = shared_keys(runs)
    dropped = sorted(
        {result.statistics for run in runs for result in run.results if result.key not in keys}
    )
    if dropped:
        notes.append(
            f"Not every run has results for {', '.join(dropped)}; only shared ones are compared."
        )
    return notes
