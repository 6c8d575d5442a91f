"""What a result promises, in a sentence."""

from __future__ import annotations

from mmcert.certification.options import Option

_CLAIM = {
    "robust": "the ensemble keeps the true label",
    "stable": "the ensemble keeps the label it gives now",
    "deployed": "the ensemble keeps the label it gives now, and that label is the true one",
}


def promise(
    option: Option,
    claim: str,
    guarantee: str,
    alpha: float,
    unit: str,
    *,
    metrics: bool = False,
) -> str:
    """The promise of one result.

    Args:
        option: The statistics option.
        claim: ``robust``, ``stable`` or ``deployed``.
        guarantee: ``per_element``, ``per_sample`` or ``dataset``.
        alpha: Failure probability.
        unit: What is counted, e.g. ``pixels``.
        metrics: Whether the result has recall, precision, F-score and IoU too.
    """
    budgets = "at every budget of the grid at once" if option.joint else "at each budget by itself"
    if option.name == "exhaustive":
        return (
            f"For all counted {unit}: under every attack within the budget {_CLAIM[claim]}, with "
            f"certainty, at every budget: all sub-samples were counted (for a deterministic base "
            f"model)."
        )
    chance = f"with probability at least 1 - {alpha:g} over the random draws, {budgets}"
    what = f"under every attack within the budget {_CLAIM[claim]}"
    if option.name == "closed_evalues" and not (guarantee == "per_sample" and unit == "samples"):
        where = "in the data set" if guarantee == "dataset" else "in a sample"
        text = (
            f"At least this share of the {unit} {where} is such that {what}: {chance}. "
            f"A number, not a set: nothing is said about which {unit}."
        )
        if metrics and option.one_family:
            text += (
                " Accuracy, recall, precision, F-score and IoU hold jointly: each is its smallest "
                "value over all sets of failures that one family at alpha leaves possible."
            )
        elif metrics:
            text += (
                " Accuracy comes from one family at alpha; recall, precision, F-score and IoU from "
                "one family per class at alpha/C: each holds, not all jointly."
            )
        return text
    if guarantee == "per_element":
        return (
            f"Of the {unit} that are counted, for each by itself: {what}, {chance}. Not for all of "
            f"them together: of those that are not certifiable, on average up to a share alpha is "
            f"counted."
        )
    if guarantee == "per_sample" and unit == "samples":
        return (
            f"For each counted sample by itself: {what}, {chance}. Not for all of them together: "
            f"of those that are not certifiable, on average up to a share alpha is counted."
        )
    if guarantee == "per_sample":
        return f"For all counted {unit} of a sample together: {what}, {chance}, for each sample."
    if option.name in ("binomial", "margin", "published"):
        return (
            f"At least this share of the samples is such that {what}: {chance}. The number of "
            f"samples certified one by one, less the most that can be false ones."
        )
    return f"For all counted {unit} of the data set together: {what}, {chance}."
