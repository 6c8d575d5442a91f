"""The condition by brute force: every sub-sample before and after, every attack, every base model.

Elements are distinct tokens. A position encoding shows the base model (position, token) of each
retained element, an order encoding the retained tokens in their order. S, S' and O are counted, the
condition is compared with what every possible base model can do.
"""

import itertools
from fractions import Fraction

import pytest

from mmcert.theory.attacks import Attack
from mmcert.theory.schemes import (
    AlignedSubsampling,
    IndependentSubsampling,
    PooledSubsampling,
    sizes_after,
)

KINDS = ("modification", "addition", "deletion", "edits")


def attacked(tokens, kind, r):
    """Every result of an attack with at most r elements of that kind, as tuples of tokens."""
    changes = {
        "modification": ("keep", "modify"),
        "deletion": ("keep", "delete"),
        "addition": ("keep",),
        "edits": ("keep", "modify", "delete"),
    }[kind]
    for done in itertools.product(changes, repeat=len(tokens)):
        spent = sum(change != "keep" for change in done)
        if spent > r:
            continue
        kept = [
            token if change == "keep" else ("modified", i)
            for i, (token, change) in enumerate(zip(tokens, done, strict=True))
            if change != "delete"
        ]
        most_added = r - spent if kind in ("addition", "edits") else 0
        for added in range(most_added + 1):
            gaps = range(len(kept) + 1)
            for places in itertools.combinations_with_replacement(gaps, added):
                result = list(kept)
                for number, place in enumerate(places):
                    result.insert(place + number, ("added", number))
                yield tuple(result)


def representatives(tokens, kind, r):
    """One attack for each pair (elements after, elements in common) that occurs."""
    found = {}
    for result in attacked(tokens, kind, r):
        found.setdefault((len(result), len(set(result) & set(tokens))), result)
    return list(found.values())


def subsamples(scheme, sample, by_position):
    """The base inputs of every possible draw; None where a pool is smaller than its draw."""
    names = [modality.name for modality in scheme.modalities]
    choices = []
    for pool in scheme.pools():
        if pool.shared:
            places = [
                [(name, position) for name in pool.names]
                for position in range(len(sample[names[0]]))
            ]
        else:
            places = [[(name, i)] for name in pool.names for i in range(len(sample[name]))]
        if len(places) < pool.k:
            return None
        choices.append(list(itertools.combinations(places, pool.k)))
    inputs = []
    for chosen in itertools.product(*choices):
        retained = sorted(
            place for combination in chosen for group in combination for place in group
        )
        inputs.append(
            tuple(
                tuple(
                    (i, sample[name][i]) if by_position else sample[name][i]
                    for owner, i in retained
                    if owner == name
                )
                for name in names
            )
        )
    assert len(set(inputs)) == len(inputs), "distinct draws give distinct inputs"
    return set(inputs)


def original(n):
    return {name: tuple((name, i) for i in range(size)) for name, size in n.items()}


def attacks_on(n, kinds, r):
    """Every attacked sample up to (n', e), which the test below shows to be all that matters."""
    sample = original(n)
    for parts in itertools.product(
        *(representatives(sample[name], kinds[name], r[name]) for name in n)
    ):
        yield dict(zip(n, parts, strict=True))


def counted(scheme, n, kinds, r):
    """(S'/S, O/S) of every attack within the budget, None for an undefined ensemble."""
    by_position = set(kinds.values()) == {"modification"}
    before = subsamples(scheme, original(n), by_position)
    for sample in attacks_on(n, kinds, r):
        after = subsamples(scheme, sample, by_position)
        if after is None:
            yield None
        else:
            S = len(before)
            yield Fraction(len(after), S), Fraction(len(before & after), S)


def raw_margin(ratios):
    return Fraction(1) if ratios is None else 1 + ratios[0] - 2 * ratios[1]


def check_worst_case(scheme, n, kinds, r):
    attack = Attack(r, kinds)
    everything = list(counted(scheme, n, kinds, r))
    worst = max(map(raw_margin, everything))
    assert scheme.margin(attack) == min(worst, 1), (n, kinds, r)
    if worst < 1:
        assert scheme.ratios(attack) in [x for x in everything if raw_margin(x) == worst]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_one_modality_every_attack_costs_at_most_what_the_scheme_says(n, kind):
    sample = original({"a": n})
    for k, r in itertools.product(range(n + 1), range(n + 2)):
        scheme = IndependentSubsampling.from_counts({"a": n}, {"a": k})
        by_position = kind == "modification"
        before = subsamples(scheme, sample, by_position)
        margins, by_sizes = [], {}
        for result in set(attacked(sample["a"], kind, r)):
            after = subsamples(scheme, {"a": result}, by_position)
            sizes = (len(result), len(set(result) & set(sample["a"])))
            pair = None if after is None else (len(after), len(before & after))
            assert by_sizes.setdefault(sizes, pair) == pair  # only n' and e matter
            S = len(before)
            margins.append(
                Fraction(1) if pair is None else 1 + Fraction(pair[0], S) - 2 * Fraction(pair[1], S)
            )
        assert scheme.margin(Attack({"a": r}, kind)) == min(max(margins), 1), (k, r)


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, repeat=2)), ids="-".join)
@pytest.mark.parametrize("scheme_type", [IndependentSubsampling, PooledSubsampling])
def test_two_modalities_of_any_kinds_have_the_worst_case_that_the_scheme_says(scheme_type, kinds):
    for sizes, r in itertools.product([(2, 3), (1, 4)], [(0, 1), (1, 1), (2, 0), (3, 1)]):
        n = dict(zip("ab", sizes, strict=True))
        for k in itertools.product(*(range(min(size, 2) + 1) for size in sizes)):
            scheme = scheme_type.from_counts(n, dict(zip("ab", k, strict=True)))
            check_worst_case(
                scheme, n, dict(zip("ab", kinds, strict=True)), dict(zip("ab", r, strict=True))
            )


@pytest.mark.parametrize(
    "kinds",
    [("addition", "deletion", "edits"), ("modification", "addition", "deletion", "edits")],
    ids="-".join,
)
@pytest.mark.parametrize("scheme_type", [IndependentSubsampling, PooledSubsampling])
def test_three_and_four_modalities_of_mixed_kinds(scheme_type, kinds):
    names = "abcd"[: len(kinds)]
    for sizes in [(2, 2, 2, 1), (1, 3, 1, 1)]:
        n = dict(zip(names, sizes, strict=False))
        for k in [(1, 1, 1, 1), (0, 1, 1, 0), (1, 2, 0, 1)]:
            scheme = scheme_type.from_counts(
                n, {name: min(k_i, n[name]) for name, k_i in zip(names, k, strict=False)}
            )
            for r in [(1, 0, 0, 1), (1, 1, 1, 1), (0, 2, 1, 0)]:
                check_worst_case(
                    scheme,
                    n,
                    dict(zip(names, kinds, strict=True)),
                    dict(zip(names, r, strict=False)),
                )


@pytest.mark.parametrize("T", [1, 2, 3, 4])
def test_a_shared_mask_loses_the_union_of_the_attacked_positions(T):
    names = "abcd"[:T]
    n = dict.fromkeys(names, 3)
    for k in range(4):
        scheme = AlignedSubsampling.from_counts(n, dict.fromkeys(names, k))
        assert scheme.pools()[0].k == k
        for r in itertools.product(range(3), repeat=T):
            budget = dict(zip(names, r, strict=True))
            kinds = dict.fromkeys(names, "modification")
            # Representatives attack the same positions in each modality; here every choice counts.
            before = subsamples(scheme, original(n), True)
            common = min(
                len(before & subsamples(scheme, dict(zip(names, parts, strict=True)), True))
                for parts in itertools.product(
                    *(
                        list(attacked(original(n)[m], "modification", budget[m]))
                        if T < 3
                        else shifted(original(n)[m], budget[m])
                        for m in names
                    )
                )
            )
            assert scheme.delta(Attack(budget, kinds)) == 1 - Fraction(common, len(before))


def shifted(tokens, r):
    """Attacks on any r neighbouring positions, enough to reach every union of positions."""
    for start in range(len(tokens)):
        hit = {(start + j) % len(tokens) for j in range(r)}
        yield tuple(("modified", i) if i in hit else token for i, token in enumerate(tokens))


def test_edits_cost_exactly_what_modification_costs():
    for n, r in itertools.product(range(1, 5), range(4)):
        for k in range(1, n + 1):
            scheme = IndependentSubsampling.from_counts({"a": n}, {"a": k})
            edits, modification = (
                max(raw_margin(x) for x in counted(scheme, {"a": n}, {"a": kind}, {"a": r}))
                for kind in ("edits", "modification")
            )
            assert min(edits, 1) == min(modification, 1)


def test_edits_beyond_the_size_of_a_modality_still_add_to_the_pool():
    n, k = {"small": 1, "large": 6}, {"small": 0, "large": 1}
    scheme = PooledSubsampling.from_counts(n, k)
    one, three = (scheme.margin(Attack({"small": r}, "edits")) for r in (1, 3))
    assert one < three < 1
    check_worst_case(scheme, n, {"small": "edits", "large": "edits"}, {"small": 3, "large": 0})


SMALL_CASES = [
    (scheme_type, n, k, kinds, r)
    for scheme_type in (IndependentSubsampling, PooledSubsampling, AlignedSubsampling)
    for n, k in [
        ({"a": 3}, {"a": 1}),
        ({"a": 4}, {"a": 1}),
        ({"a": 3}, {"a": 2}),
        ({"a": 5}, {"a": 1}),
        ({"a": 2, "b": 2}, {"a": 1, "b": 1}),
        ({"a": 1, "b": 3}, {"a": 1, "b": 1}),
        ({"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 0, "c": 1}),
    ]
    for kinds in KINDS
    for r in ({"a": 0}, {"a": 1}, {"a": 1, "b": 1}, {"a": 2})
    if set(r) <= set(n)
    and (scheme_type is not AlignedSubsampling or kinds == "modification")
    and (scheme_type is not AlignedSubsampling or len(set(n.values())) == 1)
]


def compositions(total, parts):
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def outcomes(lost, common, new, C):
    """(votes before, votes after) of every base model, C labels on the three groups."""
    for a, b, c in itertools.product(*(compositions(size, C) for size in (lost, common, new))):
        yield tuple(map(sum, zip(a, b, strict=True))), tuple(map(sum, zip(b, c, strict=True)))


@pytest.mark.parametrize(("lost", "common", "new", "C"), [(2, 3, 2, 2), (1, 2, 3, 3), (0, 4, 2, 2)])
def test_a_base_model_is_how_many_of_each_group_it_gives_each_label(lost, common, new, C):
    found = set()
    for labels in itertools.product(range(C), repeat=lost + common + new):
        before, after = labels[: lost + common], labels[lost:]
        found.add(
            (tuple(before.count(c) for c in range(C)), tuple(after.count(c) for c in range(C)))
        )
    assert found == set(outcomes(lost, common, new, C))


@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_votes_are_certified_exactly_where_no_base_model_and_no_attack_can_flip_them(case, C):
    scheme_type, n, k, kinds, r = case
    scheme = scheme_type.from_counts(n, k)
    attack = Attack({name: r.get(name, 0) for name in n}, dict.fromkeys(n, kinds))
    by_position = kinds == "modification"
    before = subsamples(scheme, original(n), by_position)
    S = len(before)
    games, undefined = set(), False
    for sample in attacks_on(n, attack.kinds, attack.budget):
        after = subsamples(scheme, sample, by_position)
        if after is None:
            undefined = True
        else:
            games.add((len(before - after), len(before & after), len(after - before)))
    breakable = {
        votes
        for game in games
        for votes, votes_after in outcomes(*game, C)
        if votes_after[0] <= max(votes_after[1:])
    }
    for votes in compositions(S, C):
        certified = Fraction(votes[0] - max(votes[1:]), S) > scheme.margin(attack)
        assert certified == (votes not in breakable and not undefined), votes
        if C == 2:
            assert certified == (Fraction(votes[0], S) > scheme.threshold(attack))


def flipping_model(before, after, X_y, X_l, C):
    """A base model with these votes before the attack that the attack hurts most."""
    lost, common, new = sorted(before - after), sorted(before & after), sorted(after - before)
    labels, others = {}, X_y
    for x in [*lost, *common]:  # y's votes sit where the attack takes them away
        if others:
            labels[x], others = 0, others - 1
    rival = X_l
    for x in [*common[::-1], *lost[::-1]]:  # the rival's where they stay
        if x not in labels:
            third = C > 2 and not rival
            labels[x], rival = (2, rival) if third else (1, rival - 1)
    return {**labels, **dict.fromkeys(new, 1)}


@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme_type", [IndependentSubsampling, PooledSubsampling])
def test_at_the_first_uncertified_budget_a_base_model_exists_that_the_attack_flips(
    scheme_type, kind, C
):
    n = {"a": 7, "b": 6}
    scheme = scheme_type.from_counts(n, {"a": 1, "b": 1})
    by_position = kind == "modification"
    before = subsamples(scheme, original(n), by_position)
    S = len(before)
    for X_y in (S, S - 2, S - 5):
        X_l = S - X_y if C == 2 else (S - X_y) // 2
        certified = [
            Fraction(X_y - X_l, S) > scheme.margin(Attack({"a": r, "b": r}, kind)) for r in range(8)
        ]
        first = certified.index(False)
        assert first > 0
        flipped = False
        for sample in attacks_on(n, dict.fromkeys(n, kind), {"a": first, "b": first}):
            after = subsamples(scheme, sample, by_position)
            if after is None:  # too few elements are left: there is no ensemble any more
                flipped = True
                continue
            model = flipping_model(before, after, X_y, X_l, C)
            votes = [sum(model[x] == c for x in before) for c in range(C)]
            assert votes[:2] == [X_y, X_l]
            votes_after = [sum(model[x] == c for x in after) for c in range(C)]
            flipped |= votes_after[0] <= max(votes_after[1:])
        assert flipped


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_after_are_reached_by_an_attack(kind):
    tokens = original({"a": 3})["a"]
    for r in range(5):
        reached = {(len(x), len(set(x) & set(tokens))) for x in attacked(tokens, kind, r)}
        assert sizes_after(3, r, kind) in reached
