"""Labels that the votes chose themselves: which of them are those of the ensemble?

Where one element's test depends on the votes for the others (Holm, closed testing), the hypotheses
must not depend on the votes. So half of alpha first settles labels without an attack, all of a
family jointly; with those given, the other half tests fixed labels. An element whose label is not
settled keeps its place in the family and counts as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mmcert.certification.verifier.margins import gap_of_bounds
from mmcert.certification.verifier.martingales import margin_martingales, martingale
from mmcert.certification.verifier.rule import Rule
from mmcert.certification.verifier.tails import decimal_of, exact, rounding, upper_tail
from mmcert.certification.verifier.tally import Pair, View

HALF = Fraction(1, 2)


def level_of_tests(rule: Rule, views: Sequence[View], alpha: Fraction) -> Fraction:
    """What is left of alpha for the tests of a family: half, where its votes chose labels."""
    return alpha / 2 if rule.stepwise and not all(one.fixed for one in views) else alpha


def settled(rule: Rule, one: View, P: int, alpha: Fraction) -> frozenset[Pair]:
    """The votes of elements whose label is settled, in a family of ``P`` elements.

    Args:
        rule: A stepwise rule.
        one: A sample.
        P: Elements in the family.
        alpha: Failure probability of this step; each element gets an equal share of it.
    """
    if one.fixed:
        return frozenset(one.family)
    N, C = one.draws, one.classes
    pairs = list(one.family)
    if rule.sequential:  # one of C labels was chosen
        if rule.test == "margin":
            evalues = margin_martingales(pairs, N, Fraction(0), rule.bets)
        else:
            evalues = [martingale(votes, N, HALF, rule.terms) for votes, _ in pairs]
        level = decimal_of(alpha / (C * P), up=False)
        with rounding(up=False):
            return frozenset(pair for pair, e in zip(pairs, evalues, strict=True) if e * level >= 1)
    if rule.test == "margin":
        each = alpha / (2 * C * P)
        return frozenset(pair for pair in pairs if gap_of_bounds(*pair, N, each) >= 0)
    # at most two labels can be wrong choices: f(t) + f(1-t) at t = 1/2
    each = alpha / (2 * P)
    return frozenset(pair for pair in pairs if exact(upper_tail(pair[0], N, HALF)) <= each)
