"""How often each statistics option claims something false, simulated at its worst-case null.

Elements of a family share their draws, so their votes are dependent in ways nobody knows: they are
simulated as independent, as blocks of identical pixels, and as one (comonotone) whole. A claim is
held to its level: the one-sided 99.9 % lower limit of the rate of false claims is at most alpha.
"""

import numpy as np
import pytest

from mmcert.theory.bounds import clopper_pearson_lower, pvalue_table
from mmcert.theory.dataset_claims import certified_samples
from mmcert.theory.difference import largest_margin
from mmcert.theory.evalues import (
    closed_count_subset,
    closed_counts,
    evalue_table,
    harmonic_alpha,
)
from mmcert.theory.multiplicity import bonferroni, holm
from mmcert.theory.one_family import worst_nulls
from mmcert.theory.published import published_margin, published_pvalue
from mmcert.theory.selection import selected_label, top_label_lower_bound, top_label_pvalue

N, P, BLOCK, T = 40, 12, 4, 0.7
DEPENDENCE = ("independent", "block", "identical")


def votes_of(p, dependence, runs, rng, draws=N):
    """Votes ``(runs, P)`` of elements whose label has probability ``p (P,)``."""
    groups = {"independent": len(p), "block": len(p) // BLOCK, "identical": 1}[dependence]
    group = np.arange(len(p)) * groups // len(p)
    # One uniform number per group and draw decides all its elements: votes are nested in p.
    levels, index = np.unique(p, return_inverse=True)
    below = np.zeros((runs, groups), dtype=np.int64)
    nested, last = [], 0.0
    for level in levels:
        below = below + rng.binomial(draws - below, (level - last) / (1 - last))
        nested.append(below)
        last = level
    return np.stack(nested, axis=2)[:, group, index]


def families(dependence, runs, rng):
    """Votes and truth (robust or not) of families on the worst null: all of it, or half of it."""
    for p in (np.full(P, T), np.where(np.arange(P) < P // 2, T, 0.97)):
        yield votes_of(p, dependence, runs, rng), p > T


def by_unique_rows(rows, function):
    """``function(row)`` for every row, computed once per distinct row."""
    distinct, index = np.unique(rows, axis=0, return_inverse=True)
    return np.array([function(row) for row in distinct])[index.ravel()]


def step_down(procedure, pvalues):
    """Runs in which a family-wise procedure certifies an element that is not robust."""

    def rate(alpha, dependence, runs, rng):
        worst = 0
        for votes, robust in families(dependence, runs, rng):
            p = pvalues[votes]
            false = 0
            # A null with p > alpha is never certified: only the other runs need the procedure.
            for row in p[(p[:, ~robust] <= alpha).any(axis=1)]:
                false += bool(procedure(row, np.ones(P, dtype=int), alpha)[~robust].any())
            worst = max(worst, false)
        return worst

    return rate


def closed_evalues(alpha, dependence, runs, rng):
    worst = 0
    table = evalue_table(N, T, alpha)
    for votes, robust in families(dependence, runs, rng):
        counts = closed_counts(table[votes], np.ones_like(votes), alpha)
        worst = max(worst, int((counts > robust.sum()).sum()))
    return worst


def closed_evalues_of_every_subset(alpha, dependence, runs, rng):
    worst = 0
    table = evalue_table(N, T, alpha)
    for votes, robust in families(dependence, runs, rng):
        e = table[votes]
        false = 0
        # The subset that is claimed most wrongly is the true nulls themselves.
        for row in e[(e[:, ~robust] > 0).any(axis=1)]:
            inside = (~robust).astype(int)
            false += closed_count_subset(row, inside, 1 - inside, alpha) > 0
        worst = max(worst, false)
    return worst


def closed_evalues_of_a_data_set(alpha, dependence, runs, rng):
    """Two images with draws and thresholds of their own, one family."""
    parts = []
    for draws, t in ((N, T), (25, 0.85)):
        votes = votes_of(np.full(P, t), dependence, runs, rng, draws)
        parts.append(evalue_table(draws, t, alpha)[votes])
    e = np.concatenate(parts, axis=1)
    return int((closed_counts(e, np.ones(e.shape, dtype=int), alpha) > 0).sum())


def one_family_for_every_metric(alpha, dependence, runs, rng):
    """False where the true nulls of two classes are beyond every pair: then some metric is."""
    worst = 0
    table = evalue_table(N, T, alpha)
    positive = np.arange(P) % 3 == 0
    for votes, robust in families(dependence, runs, rng):
        e = table[votes]
        null = int((~robust & positive).sum()), int((~robust & ~positive).sum())
        suspicious = alpha * e[:, ~robust].sum(axis=1) >= (~robust).sum()

        def claims_too_much(row, positive=positive, null=null):
            J_pos, J_neg = worst_nulls(row, positive, ~positive, alpha)
            return not ((J_pos >= null[0]) & (J_neg >= null[1])).any()

        rows = np.concatenate([e[suspicious], e[~suspicious][:50]])
        worst = max(worst, int(sum(map(claims_too_much, rows))))
    return worst


def one_family_jointly_over_budgets(alpha, dependence, runs, rng):
    p = np.linspace(0.55, 0.9, P)
    votes = votes_of(p, dependence, runs, rng)
    level = harmonic_alpha(alpha, P)
    positive = np.arange(P) % 3 == 0
    false = np.zeros(runs, dtype=bool)
    for t in p:
        e = evalue_table(N, t, level)[votes]
        null = p <= t
        for run in np.flatnonzero(level * e[:, null].sum(axis=1) >= null.sum()):
            J_pos, J_neg = worst_nulls(e[run], positive, ~positive, level)
            inside, outside = (null & positive).sum(), (null & ~positive).sum()
            false[run] |= not ((J_pos >= inside) & (J_neg >= outside)).any()
    return int(false.sum())


def closed_evalues_jointly_over_budgets(alpha, dependence, runs, rng):
    p = np.linspace(0.55, 0.9, P)
    votes = votes_of(p, dependence, runs, rng)
    level = harmonic_alpha(alpha, P)
    false = np.zeros(runs, dtype=bool)
    for t in p:  # the worst thresholds: where one more element becomes a null
        counts = closed_counts(evalue_table(N, t, level)[votes], np.ones_like(votes), level)
        false |= counts > (p > t).sum()
    return int(false.sum())


def binomial(alpha, dependence, runs, rng):
    votes = votes_of(np.full(1, T), "identical", runs, rng)
    return int((clopper_pearson_lower(np.arange(N + 1), N, alpha)[votes[:, 0]] >= T).sum())


def over_classes(margin_of):
    """Three classes, the label ahead by exactly ``m``: a claim of margin ``m`` is false."""

    def rate(alpha, dependence, runs, rng):
        worst = 0
        for p, m in (((0.6, 0.4, 0.0), 0.2), ((0.5, 0.3, 0.2), 0.2), ((0.8, 0.1, 0.1), 0.7)):
            votes = rng.multinomial(N, p, size=runs)
            margins = by_unique_rows(votes, lambda row: margin_of(row, 0, N, alpha))
            worst = max(worst, int((margins >= m - 1e-12).sum()))
        return worst

    return rate


def top_label_of(decides):
    def rate(alpha, dependence, runs, rng):
        worst = 0
        for p in ((T, 1 - T, 0.0), (T, 0.2, 0.1), (0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3)):
            votes = rng.multinomial(N, p, size=runs)
            t = max(T, max(p))
            worst = max(worst, int(decides(votes.max(axis=1), t, alpha).sum()))
        return worst

    return rate


def stable_family(alpha, dependence, runs, rng):
    """Holm over elements whose label is read off the votes they are tested on."""
    own = votes_of(np.full(P, 0.5), dependence, runs, rng)
    pvalues = top_label_pvalue(np.arange(N + 1), N, 0.5)[np.maximum(own, N - own)]
    certain = (pvalues <= alpha).any(axis=1)
    return sum(bool(holm(row, np.ones(P, dtype=int), alpha).any()) for row in pvalues[certain])


def stable_with_selection_draws(alpha, dependence, runs, rng):
    p = np.array([T, 1 - T])
    selected = selected_label(rng.multinomial(9, p, size=runs).T)
    votes = rng.multinomial(N, p, size=runs)
    pvalues = pvalue_table(N, T)[votes[np.arange(runs), selected]]
    return int((pvalues <= alpha).sum())


def false_samples(alpha, dependence, runs, rng):
    """60 samples on the null, each falsely certified at level a: M - v > 0 is a false claim."""
    a = 0.02
    certified = (pvalue_table(N, T)[rng.binomial(N, T, (runs, 60))] <= a).sum(axis=1)
    claims = np.array([certified_samples(M, 60, a, alpha) for M in range(61)])
    return int((claims[certified] > 0).sum())


OPTIONS = {
    "binomial": binomial,
    "margin_two_bounds": over_classes(
        lambda row, y, n, alpha: largest_margin(row, y, n, alpha, method="two_bounds")
    ),
    "margin_berger_boos": over_classes(
        lambda row, y, n, alpha: largest_margin(row, y, n, alpha, method="berger_boos")
    ),
    "published": over_classes(published_margin),
    "bonferroni": step_down(bonferroni, pvalue_table(N, T)),
    "holm": step_down(holm, pvalue_table(N, T)),
    "published_holm": step_down(holm, published_pvalue(np.arange(N + 1), N, T, 2)),
    "closed_evalues": closed_evalues,
    "closed_evalues_subsets": closed_evalues_of_every_subset,
    "closed_evalues_data_set": closed_evalues_of_a_data_set,
    "closed_evalues_joint": closed_evalues_jointly_over_budgets,
    "one_family": one_family_for_every_metric,
    "one_family_joint": one_family_jointly_over_budgets,
    "stable_pvalue": top_label_of(lambda X, t, alpha: top_label_pvalue(X, N, t) <= alpha),
    "stable_bound": top_label_of(lambda X, t, alpha: top_label_lower_bound(X, N, alpha) >= t),
    "stable_holm": stable_family,
    "stable_selection_draws": stable_with_selection_draws,
    "false_samples": false_samples,
}
FAMILIES = {
    name
    for name in OPTIONS
    if name.startswith(
        ("bonferroni", "holm", "published_holm", "closed", "one_family", "stable_holm")
    )
}
CASES = [
    (name, dependence)
    for name in OPTIONS
    for dependence in (DEPENDENCE if name in FAMILIES else ("independent",))
]


def check(name, dependence, alpha, runs):
    rng = np.random.default_rng([runs, *name.encode(), *dependence.encode()])
    false = OPTIONS[name](alpha, dependence, runs, rng)
    assert clopper_pearson_lower(int(false), runs, 0.001) <= alpha, (false, runs)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("name", "dependence"), CASES)
def test_false_claims_are_as_rare_as_promised(name, dependence, alpha):
    check(name, dependence, alpha, runs=2000)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("name", "dependence"), CASES)
def test_false_claims_are_as_rare_as_promised_in_1e5_runs(name, dependence, alpha):
    check(name, dependence, alpha, runs=100_000)


@pytest.mark.parametrize("dependence", DEPENDENCE)
def test_the_simulation_would_catch_a_test_without_multiplicity(dependence):
    # The control: every element at alpha on its own breaks a family's level unless all are one.
    def uncorrected(pvalues, sizes, alpha):
        return np.asarray(pvalues) <= alpha

    rng = np.random.default_rng(3)
    false = step_down(uncorrected, pvalue_table(N, T))(0.05, dependence, 2000, rng)
    assert (clopper_pearson_lower(false, 2000, 0.001) > 0.05) == (dependence != "identical")


def test_the_simulated_votes_have_the_dependence_they_are_named_after():
    rng = np.random.default_rng(0)
    p = np.where(np.arange(P) < P // 2, T, 0.97)
    for dependence in DEPENDENCE:
        votes = votes_of(p, dependence, 4000, rng)
        assert np.allclose(votes.mean(axis=0) / N, p, atol=0.01)
        same = np.corrcoef(votes[:, 0], votes[:, 1])[0, 1]
        assert (same > 0.999) == (dependence != "independent")
        assert (np.corrcoef(votes[:, 0], votes[:, 5])[0, 1] > 0.999) == (dependence == "identical")
