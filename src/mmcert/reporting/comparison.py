"""Two runs against each other: which certifies more, where, and for which of two reasons.

A scheme can win in two ways. Its certificate may ask for fewer votes (the threshold ``t``, exact
from ``n``, ``k`` and the budget), or its base model may collect more of them. The first can be
computed without a single vote, so the report can say which of the two it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mmcert.reporting.rounding import rounded_down
from mmcert.reporting.runs import Budget, Result, Run
from mmcert.reporting.wording import metric_name
from mmcert.theory.attacks import ThreatKind
from mmcert.theory.schemes import IndependentSubsampling, PooledSubsampling


@dataclass(frozen=True)
class Cell:
    """One budget: the metric of both runs, and the exact thresholds of both schemes."""

    budget: Budget
    ours: float | None
    theirs: float | None
    our_threshold: Fraction
    their_threshold: Fraction

    @property
    def difference(self) -> float | None:
        """Metric of the reference minus metric of the other; None where one is undefined."""
        if self.ours is None or self.theirs is None:
            return None
        return self.ours - self.theirs


@dataclass(frozen=True)
class Comparison:
    """Reference run against another one, over the budgets that both evaluated.

    Args:
        reference: The run whose gain counts as positive.
        other: The run that it is compared with.
        result: The result of the reference (statistics, guarantee, threat).
        metric: The metric that is compared.
        cells: One per common budget.
    """

    reference: Run
    other: Run
    result: Result
    metric: str
    cells: tuple[Cell, ...]

    @property
    def ahead(self) -> list[Cell]:
        """Budgets where the reference certifies more."""
        return [cell for cell in self.cells if (cell.difference or 0) > 0]

    @property
    def behind(self) -> list[Cell]:
        """Budgets where the other run certifies more."""
        return [cell for cell in self.cells if (cell.difference or 0) < 0]

    @property
    def same_sizes(self) -> bool:
        """Whether both schemes have the same ``n`` and were asked for the same ``k``."""
        mine, its = self.reference.scheme.modalities, self.other.scheme.modalities
        return [(m.n, m.k) for m in mine] == [(m.n, m.k) for m in its]


def reference_run(runs: Sequence[Run]) -> Run:
    """The run that the others are compared with: the first MMCert run, else the first."""
    named = (run for run in runs if run.scheme.name == IndependentSubsampling.name)
    return next(named, runs[0])


def compare(reference: Run, other: Run, key: tuple[str, ...], metric: str) -> Comparison:
    """Compare two runs in one metric of one result that both have."""
    ours, theirs = reference.result(key), other.result(key)
    if ours is None or theirs is None:
        raise ValueError(f"not both runs have the result {key}")
    cells = tuple(
        Cell(
            budget,
            ours.value(budget, metric),
            theirs.value(budget, metric),
            reference.scheme.threshold(reference.attack(budget, ours)),
            other.scheme.threshold(other.attack(budget, theirs)),
        )
        for budget in ours.values
        if budget in theirs.values
    )
    return Comparison(reference, other, ours, metric, cells)


def budget_text(names: Sequence[str], budget: Budget) -> str:
    """A budget for people.

    >>> budget_text(["rgb", "depth"], (5, 10))
    'r_rgb = 5, r_depth = 10'
    """
    return ", ".join(f"r_{name} = {r}" for name, r in zip(names, budget, strict=True))


def explain(comparison: Comparison) -> list[str]:
    """Why one scheme is better at some budgets and the other at others, from ``n``, ``k``, ``r``.

    The rule for equal ``n``: to leading order in ``r k / n``, MMCert's delta is smaller than the
    pooled baseline's iff ``(k1 - k2)(r1 - r2) < 0``. The exact thresholds are compared besides, so
    the text never claims more than holds at the budgets of the grid.
    """
    attacked = [cell for cell in comparison.cells if any(cell.budget)]
    if not attacked:
        return []
    ours, theirs = comparison.reference.label, comparison.other.label
    fewer = [cell for cell in attacked if cell.our_threshold < cell.their_threshold]
    more = [cell for cell in attacked if cell.our_threshold > cell.their_threshold]
    sentences = _rule(comparison, attacked)
    sentences.append(
        f"Computed exactly from n and k, {ours} asks for fewer votes at {len(fewer)} of the "
        f"{len(attacked)} attacked budgets of the grid, {theirs} at {len(more)}"
        + _examples(comparison, fewer, more)
        + "."
    )
    sentences += _reasons(comparison)
    return sentences


def _rule(comparison: Comparison, attacked: Sequence[Cell]) -> list[str]:
    reference, other = comparison.reference, comparison.other
    modalities = reference.scheme.modalities
    kinds = set(comparison.result.threat.values())
    if (
        reference.scheme.name != IndependentSubsampling.name
        or other.scheme.name != PooledSubsampling.name
        or len(modalities) != 2
        or modalities[0].n != modalities[1].n
        or not comparison.same_sizes
        or kinds != {ThreatKind.MODIFICATION.value}
    ):
        return []
    one, two = modalities
    if one.k == two.k:
        return [
            f"Both modalities have n = {one.n:,} elements and keep k = {one.k:,}: then "
            f"{reference.label} gains nothing over one pool, whatever the budget. Plan k for a "
            f"budget ratio (mmcert-plan)."
        ]
    keeps_more, keeps_less = (one, two) if one.k > two.k else (two, one)
    agree = sum(
        ((one.k - two.k) * (cell.budget[0] - cell.budget[1]) < 0)
        == (cell.our_threshold < cell.their_threshold)
        for cell in attacked
    )
    return [
        f"With equal n, delta of {reference.label} is smaller than that of {other.label} where "
        f"(k_{one.name} − k_{two.name})(r_{one.name} − r_{two.name}) < 0. Here "
        f"k_{keeps_more.name} = {keeps_more.k:,} > k_{keeps_less.name} = {keeps_less.k:,}, so "
        f"{reference.label} has the better certificate where the attack takes more of "
        f"{keeps_less.name} (r_{keeps_less.name} > r_{keeps_more.name}), and {other.label} has it "
        f"where the attack concentrates on {keeps_more.name}, the modality that keeps more: a "
        f"sub-sample of it is hit more often, while one pool spreads the same total over both. "
        f"The rule is the leading term; the exact values agree with it at {agree} of "
        f"{len(attacked)} budgets."
    ]


def _examples(comparison: Comparison, fewer: Sequence[Cell], more: Sequence[Cell]) -> str:
    def gap(cell: Cell) -> Fraction:
        return abs(cell.our_threshold - cell.their_threshold)

    shown = [max(cells, key=gap) for cells in (fewer, more) if cells]
    if not shown:
        return ""
    names = comparison.reference.names
    texts = [
        f"at {budget_text(names, cell.budget)} they need {_share(cell.our_threshold)} and "
        f"{_share(cell.their_threshold)} of the votes"
        for cell in shown
    ]
    return f" ({'; '.join(texts)})"


def _share(threshold: Fraction) -> str:
    # A threshold is rounded up: fewer votes than shown never suffice.
    thousandths = -(-threshold.numerator * 1000 // threshold.denominator)
    return f"{min(thousandths, 1000) / 1000:.3f}"


def _reasons(comparison: Comparison) -> list[str]:
    """Whether the certificate or the base model made the difference, for both directions."""
    sentences = []
    name = _in_sentence(comparison.metric)
    for label, cells, sign in (
        (comparison.reference.label, comparison.ahead, 1),
        (comparison.other.label, comparison.behind, -1),
    ):
        if not cells:
            sentences.append(f"{label} has the higher {name} nowhere.")
            continue
        by_certificate = sum(
            (cell.their_threshold - cell.our_threshold) * sign > 0 for cell in cells
        )
        rest = len(cells) - by_certificate
        parts = []
        if by_certificate:
            parts.append(f"at {by_certificate} of them it also asks for fewer votes")
        if rest:
            parts.append(
                f"at {rest} it does not, so there its base model does better on the sub-samples"
            )
        sentences.append(
            f"{label} has the higher {name} at {len(cells)} of {len(comparison.cells)} budgets: "
            f"{'; '.join(parts)}."
        )
    return sentences


def _in_sentence(metric: str) -> str:
    name = metric_name(metric)
    return name[:1].lower() + name[1:]


def conclusion(
    comparisons: Sequence[Comparison], runs: Sequence[Run], ray_budgets: Sequence[Budget], ray: str
) -> str:
    """What the numbers say in one short paragraph, whichever run they favour."""
    if not comparisons:
        return ""
    sentences = []
    for comparison in comparisons:
        cells = [cell for cell in comparison.cells if cell.budget in set(ray_budgets)]
        sentences.append(_along(comparison, cells, ray))
        off = [cell for cell in comparison.behind if cell.budget not in set(ray_budgets)]
        if off:
            sentences.append(
                f"Elsewhere in the grid {comparison.other.label} is ahead at {len(off)} budgets"
                f"{_where(comparison, off)}."
            )
    return " ".join(sentences)


def _along(comparison: Comparison, cells: Sequence[Cell], ray: str) -> str:
    reference, other = comparison.reference, comparison.other
    name = _in_sentence(comparison.metric)
    either = [cell for cell in cells if max(cell.ours or 0, cell.theirs or 0) > 0]
    place = f"Along {ray}" if ray else "Over the budgets"
    if not either:
        return f"{place}, neither {reference.label} nor {other.label} certifies anything."
    ahead = [cell for cell in either if (cell.difference or 0) > 0]
    behind = [cell for cell in either if (cell.difference or 0) < 0]
    if not behind and len(ahead) == len(either):
        lead = f"the {name} of {reference.label} is above that of {other.label} at every budget"
    elif not ahead and len(behind) == len(either):
        lead = f"the {name} of {other.label} is above that of {reference.label} at every budget"
    elif not ahead and not behind:
        return f"{place}, {reference.label} and {other.label} have the same {name} everywhere."
    else:
        parts = [
            f"{label}{'' if index and ahead else f' has the higher {name}'} at {len(part)}"
            for index, (label, part) in enumerate(((reference.label, ahead), (other.label, behind)))
            if part
        ]
        lead = f"{' and '.join(parts)} of the {len(either)} budgets"
    if len(either) < len(cells):
        lead += " where either certifies anything"
    examples = "; ".join(_example(comparison, part) for part in (ahead, behind) if part)
    tied = len(either) - len(ahead) - len(behind)
    rest = f"; they agree at the other {tied}" if tied else ""
    return f"{place}, {lead} ({examples}){rest}."


def _example(comparison: Comparison, cells: Sequence[Cell]) -> str:
    cell = max(cells, key=lambda c: abs(c.difference or 0))
    first, second = (
        (cell.ours, cell.theirs) if (cell.difference or 0) > 0 else (cell.theirs, cell.ours)
    )
    digits = next((d for d in (3, 4, 5) if rounded_down(first, d) != rounded_down(second, d)), 6)
    return (
        f"{rounded_down(first, digits)} against {rounded_down(second, digits)} at "
        f"{budget_text(comparison.reference.names, cell.budget)}"
    )


def _where(comparison: Comparison, cells: Sequence[Cell]) -> str:
    """Where the other run is ahead, said only where it is true of every such budget."""
    names = comparison.reference.names
    for index, name in enumerate(names):
        rivals = [i for i in range(len(names)) if i != index]
        if rivals and all(
            all(cell.budget[index] > cell.budget[i] for i in rivals) for cell in cells
        ):
            return f", all with more attacked elements in {name} than in {names[rivals[0]]}"
    return ""
