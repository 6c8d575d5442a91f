"""Certify votes that are in memory: arrays in, a frozen result out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmcert.certification.counting import View, closed_metric_counts
from mmcert.certification.grid import Grid, Thresholds
from mmcert.certification.histograms import Levels
from mmcert.certification.levels import level_bounds, limits, split_over_labels
from mmcert.certification.options import Option, exhaustive_option, parse_statistics
from mmcert.errors import ConfigError, RecordError
from mmcert.theory.attacks import Attack
from mmcert.theory.bounds import check_alpha
from mmcert.theory.difference import Method, largest_margin
from mmcert.theory.exhaustive import sub_samples
from mmcert.theory.published import published_margin
from mmcert.theory.schemes import Scheme
from mmcert.theory.selection import selected_label

#: Berger-Boos takes up to 2 s for each pair of vote counts: ``auto`` uses it for so many elements,
#: by the shape of the votes and never by the votes.
SHARP_ELEMENTS = 1000


@dataclass(frozen=True)
class Certified:
    """What votes certify.

    Args:
        labels: The label that is certified or not, int64 ``(...)``.
        certified: Whether it is, bool ``(...)``, with several attacks ``(A, ...)``; None for
            ``closed_evalues``, which says how many and not which.
        at_least: How many elements are certified, ``(A,)`` with several attacks.
        lower_bound: Lower bound of each element that is compared with ``threshold`` (tests by the
            margin: with ``margin``), float64 ``(...)``; None for ``holm`` and ``closed_evalues``,
            which have none of their own.
        threshold: What ``p_y`` must exceed, rounded up; ``(A,)`` with several attacks.
        margin: What ``p_y - p_l`` must exceed for every rival, rounded up; likewise.
        statistics: The option.
        claim: ``robust``: the labels were given; ``stable``: they are those of the votes.
        joint_over_elements: Whether all certified elements hold together with ``1 - alpha``, not
            each by itself.
        joint_over_attacks: Whether the certificates of all attacks do.
        alpha: Failure probability; 0 where all sub-samples were counted.
        draws: ``N``.
    """

    labels: NDArray[np.int64]
    certified: NDArray[np.bool_] | None
    at_least: NDArray[np.int64]
    lower_bound: NDArray[np.float64] | None
    threshold: NDArray[np.float64]
    margin: NDArray[np.float64]
    statistics: str
    claim: str
    joint_over_elements: bool
    joint_over_attacks: bool
    alpha: float
    draws: int


def certify(
    votes: ArrayLike,
    scheme: Scheme,
    attack: Attack | Sequence[Attack],
    alpha: float = 0.001,
    *,
    labels: ArrayLike | None = None,
    selection_votes: ArrayLike | None = None,
    statistics: str = "binomial",
    options: Mapping[str, Any] | None = None,
) -> Certified:
    """Certify the votes of an ensemble against attacks.

    Letters: ``C`` classes, ``...`` any shape of elements (none: one input; ``(S,)``: samples with
    the same scheme; ``(H, W)``: pixels of one image), ``A`` attacks.

    Args:
        votes: How many of the ``N`` sub-samples got each label, integer ``(C, ...)``; every element
            has ``N`` votes.
        scheme: How the sub-samples were drawn.
        attack: One attack, or several of the same threat kinds.
        alpha: Failure probability.
        labels: True labels, integer ``(...)``: *robust* certificates. None: *stable* ones, of the
            label that wins now.
        selection_votes: Votes of separate draws ``(C, ...)`` that choose the label of a stable
            certificate. None: the votes choose it and pay for it.
        statistics: ``binomial``, ``margin``, ``bonferroni``, ``holm``, ``closed_evalues``,
            ``published``; ``exhaustive`` where the votes are those of all sub-samples. Families
            (the last word of Holm and the like) are all elements that are passed.
        options: Settings of the statistics, e.g. ``{"method": "two_bounds"}``.

    Returns:
        A :class:`Certified`.

    Raises:
        RecordError: For votes or labels that cannot be.
        ConfigError: For unknown statistics, settings or modalities.
        UnsoundError: For a scheme that does not certify the threat.

    >>> from mmcert import Attack, IndependentSubsampling
    >>> scheme = IndependentSubsampling.from_counts({"image": 784}, {"image": 60})
    >>> one = certify([970, 20, 10], scheme, Attack({"image": 5}), labels=0)
    >>> bool(one.certified), bool(one.lower_bound > one.threshold), one.claim
    (True, True, 'robust')

    Ten pixels with a hundred votes each, all jointly at alpha, against three attacks:

    >>> votes = [[99] * 9 + [50], [1] * 9 + [50]]
    >>> attacks = [Attack({"image": r}) for r in (0, 3, 9)]
    >>> result = certify(votes, scheme, attacks, labels=[0] * 10, statistics="holm")
    >>> result.certified.sum(axis=1).tolist(), result.joint_over_attacks
    ([9, 9, 0], False)

    Without labels the answer is about the label that the ensemble gives now:

    >>> certify([5, 995], scheme, Attack({"image": 5})).claim
    'stable'
    """
    counts, N = _checked_votes(votes, "votes")
    chosen, selected = _labels(labels, selection_votes, counts)
    attacks = [attack] if isinstance(attack, Attack) else list(attack)
    thresholds = _thresholds(scheme, attacks)
    option = _option(statistics, options, counts)
    if option.name == "exhaustive":
        if sub_samples(scheme) != N:
            raise RecordError(
                f"statistics='exhaustive' needs the votes of all {sub_samples(scheme)} "
                f"sub-samples, each element has {N}; sampled votes need another statistics."
            )
        alpha = 0.0
    else:
        check_alpha(alpha)
    flat, flat_labels = counts.reshape(len(counts), -1), chosen.reshape(-1)
    own = np.take_along_axis(flat, flat_labels[None], axis=0)[0]
    others = flat.copy()
    np.put_along_axis(others, flat_labels[None], -1, axis=0)
    rival = others.max(axis=0)
    levels, place = _levels(own, rival, flat_labels, len(flat), N, option)
    one = View(levels, levels.elements, N, thresholds, selected)
    bounds: NDArray[np.float64] | None = None
    certified: NDArray[np.bool_] | None = None
    if option.name == "closed_evalues":
        at_least = closed_metric_counts(option, [one], alpha, "sample").total[0]
    else:
        bounds = _bounds(option, one, alpha)[place]
        limit = limits(option, thresholds, N)
        certified = (limit[:, None] <= bounds[None, :]) & (thresholds.m[:, None] < 1)
        at_least = certified.sum(axis=1)
        certified = certified.reshape(len(attacks), *chosen.shape)
    single = isinstance(attack, Attack)
    own_bound = option.name not in ("holm", "closed_evalues", "exhaustive")
    return Certified(
        labels=chosen,
        certified=certified[0] if single and certified is not None else certified,
        at_least=at_least[0] if single else at_least,
        lower_bound=bounds.reshape(chosen.shape) if own_bound and bounds is not None else None,
        threshold=thresholds.t[0] if single else thresholds.t,
        margin=thresholds.m[0] if single else thresholds.m,
        statistics=option.name,
        claim="stable" if labels is None else "robust",
        joint_over_elements=option.name not in ("binomial", "margin", "published"),
        joint_over_attacks=option.joint,
        alpha=alpha,
        draws=N,
    )


def _checked_votes(votes: ArrayLike, name: str) -> tuple[NDArray[np.int64], int]:
    counts = np.asarray(votes)
    if not np.issubdtype(counts.dtype, np.integer):
        raise RecordError(
            f"{name} must be counts in integers, not {counts.dtype}; pass how often each label won."
        )
    if counts.ndim < 1 or len(counts) < 2 or counts.size == 0:
        raise RecordError(f"{name} must have shape (C, ...) with C >= 2, not {counts.shape}.")
    counts = counts.astype(np.int64)
    totals = counts.sum(axis=0)
    N = int(totals.flat[0])
    if counts.min() < 0 or (totals != N).any() or N < 1:
        raise RecordError(
            f"{name}: every element needs the same number of votes, at least 1 and none negative; "
            f"sums over the classes range from {int(totals.min())} to {int(totals.max())}."
        )
    return counts, N


def _labels(
    labels: ArrayLike | None, selection_votes: ArrayLike | None, counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], bool]:
    if labels is not None and selection_votes is not None:
        raise ConfigError("pass labels (robust) or selection_votes (stable), not both.")
    if labels is None:
        if selection_votes is None:
            return selected_label(counts), False
        selection, _ = _checked_votes(selection_votes, "selection_votes")
        if selection.shape != counts.shape:
            raise RecordError(
                f"selection_votes have shape {selection.shape}, votes {counts.shape}."
            )
        return selected_label(selection), True
    chosen = np.asarray(labels)
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.shape != counts.shape[1:]:
        raise RecordError(
            f"labels must be integers of shape {counts.shape[1:]}, "
            f"not {chosen.dtype} of shape {chosen.shape}."
        )
    if ((chosen < 0) | (chosen >= len(counts))).any():
        raise RecordError(
            f"labels must lie in 0..{len(counts) - 1}; leave out elements without a label."
        )
    return chosen.astype(np.int64), True


def _thresholds(scheme: Scheme, attacks: Sequence[Attack]) -> Thresholds:
    if not attacks:
        raise ConfigError("there is no attack to certify against.")
    parts = []
    for attack in attacks:
        scheme.check(attack)
        kinds = {name: attack.kind(name).value for name in attack.budget}
        parts.append(Grid((attack.budget,), kinds).thresholds(scheme))
    return Thresholds(
        np.concatenate([part.t for part in parts]),
        np.concatenate([part.m for part in parts]),
        tuple(part.exact[0] for part in parts),
    )


def _option(
    statistics: str, options: Mapping[str, Any] | None, counts: NDArray[np.int64]
) -> Option:
    if statistics == "exhaustive":
        return exhaustive_option("segmentation")
    settings = {key: value for key, value in (options or {}).items() if value != "auto"}
    # Holm and closed testing over elements as for pixels; published bounds one by one.
    task = "classification" if statistics == "published" else "segmentation"
    return parse_statistics({statistics: settings}, task, len(counts))[0]


def _levels(
    own: NDArray[np.int64],
    rival: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: int,
    N: int,
    option: Option,
) -> tuple[Levels, NDArray[np.intp]]:
    """The elements by their votes, and the level of each."""
    if option.test == "margin":
        keys, inverse = np.unique(own * (N + 1) + rival, return_inverse=True)
        votes, rivals, place = keys // (N + 1), keys % (N + 1), inverse.reshape(-1)
    elif option.stepwise:  # these tests want a level for every number of votes
        votes, rivals, place = np.arange(N + 1), None, own
    else:
        present, inverse = np.unique(own, return_inverse=True)
        votes, rivals, place = present, None, inverse.reshape(-1)
    elements = np.zeros((classes, len(votes)), np.int64)
    np.add.at(elements, (labels, place), 1)
    return Levels(votes, rivals, elements), place.astype(np.intp)


def _bounds(option: Option, one: View, alpha: float) -> NDArray[np.float64]:
    """The bound of each level."""
    levels, N, P = one.levels, one.N, int(one.levels.sizes.sum())
    classes = len(levels.elements)
    level = split_over_labels(alpha, option, one.selected, classes)
    if option.name == "published" or (option.name == "margin" and P <= SHARP_ELEMENTS):
        method: Method = option.method  # type: ignore[assignment]  # checked with the options
        assert levels.rival is not None
        pairs = zip(levels.votes.tolist(), levels.rival.tolist(), strict=True)
        if option.name == "published":
            rest = [0] * (classes - 2)
            return np.array([published_margin([x, y, *rest], 0, N, level) for x, y in pairs])
        return np.array([largest_margin([x, y], 0, N, level, method) for x, y in pairs])
    return level_bounds(option, levels, N, level, P, one.selected)
