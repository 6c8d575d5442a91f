"""True classes against the labels that the ensemble is known to give, or keeps under attack.

Letters: ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmcert.certification.classification import SampleCounts, decide, make_batch
from mmcert.certification.grid import Grid
from mmcert.certification.options import Option
from mmcert.errors import RecordError
from mmcert.records.certificates import Certificate
from mmcert.theory.schemes import make_scheme


@dataclass(frozen=True)
class Confusion:
    """Samples by true class and by the label that is certified for them, at one budget.

    Args:
        labels: ``(C, C)``: samples of each true class (rows) whose certified label is each class.
        abstained: ``(C,)``: samples of each true class for which no label is certified.
    """

    labels: tuple[tuple[int, ...], ...]
    abstained: tuple[int, ...]

    @property
    def samples(self) -> tuple[int, ...]:
        """Samples of each true class, ``(C,)``."""
        return tuple(sum(row) + left for row, left in zip(self.labels, self.abstained, strict=True))


def confusion_matrices(
    rows: Sequence[Certificate],
    scheme: str,
    classes: int,
    option: Option,
    alpha: float,
    grid: Grid,
) -> list[Confusion]:
    """One matrix per budget: the *stable* claim, sample by sample, beside the true class.

    A label is counted only where the option certifies it: the votes' winner is what the ensemble
    gives, whatever the attack within the budget. The test is the one for labels that the very votes
    have chosen (alpha is split over them): it is sound for any choice, and a little strict where
    separate draws made it. Samples whose winner is tied, or not certified, abstain; samples without
    a true class are left out.

    Args:
        rows: Certificates of one statistics option.
        scheme: Name of the scheme of the run.
        classes: ``C``.
        option: The option, with its settings; one that names samples.
        alpha: Failure probability.
        grid: The budgets, any number of them.

    Returns:
        A matrix per budget; empty where no row has a true class, or the option names no samples.

    Raises:
        RecordError: For a class or votes that do not fit ``classes``.
        ConfigError: For ``n`` and ``k`` that make no scheme.
    """
    samples = [_counts(row, scheme, classes, grid) for row in rows if row.target is not None]
    decided = decide(option, make_batch(samples, "stable", grid), alpha) if samples else None
    if decided is None or decided.certified is None:
        return []
    matrices = []
    for kept in decided.certified.T.tolist():
        labels = [[0] * classes for _ in range(classes)]
        abstained = [0] * classes
        for sample, sure in zip(samples, kept, strict=True):
            assert sample.target is not None
            if sure and sample.predicted is not None:
                labels[sample.target][sample.predicted] += 1
            else:
                abstained[sample.target] += 1
        matrices.append(Confusion(tuple(tuple(row) for row in labels), tuple(abstained)))
    return matrices


def _counts(row: Certificate, scheme: str, classes: int, grid: Grid) -> SampleCounts:
    votes = tuple(row.counts or ())
    known = range(classes)
    if (
        len(votes) != classes
        or min(votes) < 0
        or row.target not in known
        or row.predicted not in (None, *known)
    ):
        raise RecordError(
            f"sample '{row.id}': true class {row.target}, label {row.predicted} and "
            f"{len(votes)} counts of votes do not fit {classes} classes; run mmcert-evaluate on "
            f"the votes again."
        )
    names: Mapping[str, str] = grid.kinds
    return SampleCounts(
        id=row.id,
        counts=votes,
        target=row.target,
        predicted=row.predicted,
        claimed=votes.index(max(votes)) if row.predicted is None else row.predicted,
        draws=row.draws,
        scheme=make_scheme(
            scheme, {name: row.n[name] for name in names}, k={name: row.k[name] for name in names}
        ),
        selected=False,
    )
