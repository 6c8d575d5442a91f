"""Claims about labels that the votes chose are false no more often than alpha says.

Worst cases: no label exceeds the threshold (its winner is always a false claim), and a winner so
close to the runner-up that the votes often choose the wrong one. Elements vote independently, all
alike, or in blocks.
"""

import numpy as np
import pytest
from scipy import stats

from mmcert import Attack, IndependentSubsampling, certify

SCHEME = IndependentSubsampling.from_counts({"image": 50}, {"image": 5})
ALPHA, N, P, RUNS = 0.05, 60, 12, 1500


def one_run(rng, probabilities, dependence):
    """Votes ``(C, P)`` of elements with these label probabilities ``(P, C)``."""
    groups = {"independent": P, "blocks": 3, "identical": 1}[dependence]
    uniform = np.repeat(rng.random((N, groups)), P // groups, axis=1)  # (N, P)
    labels = (uniform[..., None] > np.cumsum(probabilities, axis=1)[None, :, :-1]).sum(axis=2)
    return np.stack([(labels == c).sum(axis=0) for c in range(probabilities.shape[1])])


@pytest.mark.slow
@pytest.mark.parametrize("dependence", ["independent", "blocks", "identical"])
@pytest.mark.parametrize("null", ["nobody exceeds t", "close race", "mixed"])
@pytest.mark.parametrize("r", [0, 2])
def test_stable_claims_on_the_same_votes_keep_their_level(dependence, null, r):
    rng = np.random.default_rng(0)
    attack = Attack({"image": r})
    t = float(SCHEME.threshold(attack))
    at_t, close = [t, 1 - t, 0.0], [0.5 + 1e-6, 0.5 - 1e-6, 0.0]
    probabilities = np.array([at_t if i % 2 else close for i in range(P)])
    if null == "nobody exceeds t":
        probabilities[:] = at_t
    elif null == "close race":
        probabilities[:] = close
    else:
        probabilities[: P // 2] = [0.98, 0.01, 0.01]
    winners = probabilities.argmax(axis=1)
    stable = probabilities.max(axis=1) > t + 1e-12
    options = ("bonferroni", "holm", "closed_evalues")
    false = dict.fromkeys(options, 0)
    for _ in range(RUNS):
        votes = one_run(rng, probabilities, dependence)
        for name in options:
            settings = {} if name == "holm" else {"test": "binomial"}
            result = certify(votes, SCHEME, attack, ALPHA, statistics=name, options=settings)
            right = stable & (result.labels == winners)
            if name == "closed_evalues":
                false[name] += int(result.at_least) > right.sum()
            else:
                false[name] += bool((result.certified & ~right).any())
    for name, count in false.items():
        lower = stats.beta.ppf(0.001, count, RUNS - count + 1) if count else 0.0
        assert lower <= ALPHA, (name, count / RUNS)
