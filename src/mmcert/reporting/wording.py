"""What a number guarantees, in words: the report never shows one without the other."""

from __future__ import annotations

from fractions import Fraction

from mmcert.reporting.rounding import rounded_down
from mmcert.reporting.runs import Result, Run

SCHEMES = {
    "mmcert": "MMCert",
    "randomized_ablation": "Randomized ablation",
    "randomized_ablation_aligned": "Randomized ablation, aligned",
}
METRICS = {
    "certified_pixel_accuracy": "Certified pixel accuracy",
    "certified_recall": "Certified recall",
    "certified_precision": "Certified precision",
    "certified_f_score": "Certified F-score",
    "certified_iou": "Certified IoU",
    "certified_accuracy": "Certified accuracy",
    "stable_rate": "Stable rate",
    "abstain_rate": "Abstain rate",
}
STATISTICS = {
    "binomial": "binomial",
    "margin": "margin",
    "bonferroni": "Bonferroni",
    "holm": "Holm",
    "closed_evalues": "closed e-values",
    "published": "published bounds",
}
_CLAIMS = {
    "robust": "the ensemble keeps the true label",
    "stable": "the ensemble keeps the label that it gives now (true or not)",
    "deployed": "the ensemble gives the true label, was selected without it, and keeps it",
}


def metric_name(metric: str) -> str:
    """A metric for an axis or a column.

    >>> metric_name("certified_f_score"), metric_name("certified_top_five")
    ('Certified F-score', 'Certified top five')
    """
    return METRICS.get(metric, metric.replace("_", " ").capitalize())


def scheme_name(scheme: str) -> str:
    """A scheme for a legend."""
    return SCHEMES.get(scheme, scheme)


def statistics_name(statistics: str) -> str:
    """A statistics option for a title."""
    return STATISTICS.get(statistics, statistics.replace("_", " "))


def result_title(result: Result) -> str:
    """One line that tells a statistics option from the others: its name, claim and guarantee."""
    scope = {
        "per_element": "each decision on its own",
        "per_sample": "per sample",
        "dataset": "over the data set",
    }.get(result.guarantee, result.guarantee)
    claim = "" if result.claim == "robust" else f", {result.claim}"
    name = statistics_name(result.statistics)
    return f"{_upper(name)} ({scope}{claim})"


def short_guarantee(result: Result) -> str:
    """The guarantee in a few words, for the corner of a figure."""
    over = "all budgets jointly" if result.over_budgets == "joint" else "each budget on its own"
    scope = {
        "per_element": f"each decision: ≥ 1 − {result.alpha:g}",
        "per_sample": f"each sample: ≥ 1 − {result.alpha:g}",
        "dataset": f"whole figure: ≥ 1 − {result.alpha:g}",
    }.get(result.guarantee, f"alpha {result.alpha:g}")
    if result.draws == "exhaustive":
        return "exhaustive: probability 1, all budgets"
    return f"{scope}; {over}"


def draws_text(draws: int | str) -> str:
    """How many votes stand behind a number."""
    if isinstance(draws, int):
        return f"N = {draws:,} draws per sample"
    return {
        "sequential": "sequential voting (each sample stopped by its own votes)",
        "exhaustive": "all sub-samples counted (no sampling error)",
    }.get(draws, draws)


def threat_text(result: Result) -> str:
    """What the attacker does, e.g. ``modification of rgb and of depth``."""
    kinds = [f"{kind} of {name}" for name, kind in result.threat.items()]
    return " and ".join(kinds) if len(kinds) < 3 else ", ".join(kinds)


def _promise(result: Result) -> str:
    """The sentence that the record itself makes; one in the same words where it makes none."""
    recorded = result.reading.get("promise")
    if isinstance(recorded, str) and recorded:
        return recorded
    chance = (
        "with certainty (every sub-sample was counted; the base model must be deterministic)"
        if result.draws == "exhaustive"
        else f"with probability at least 1 − {result.alpha:g} over the random draws"
    )
    claim = _CLAIMS.get(result.claim, result.claim)
    if result.statistics == "closed_evalues":
        return (
            f"At least this share is such that under every attack within the budget {claim}, "
            f"{chance}. A number, not a set: nothing is said about which elements."
        )
    scope = {
        "dataset": "For the figure as a whole",
        "per_sample": "For all counted elements of a sample together",
    }.get(result.guarantee, "For each counted element by itself")
    return f"{scope}: under every attack within the budget {claim}, {chance}."


def guarantee_sentences(result: Result, run: Run) -> list[str]:
    """What the numbers of ``result`` promise, for whom, over which budgets, how surely."""
    sentences = [_promise(result)]
    if result.draws != "exhaustive" and result.guarantee == "per_sample" and run.samples > 1:
        pooled = 1 - run.samples * Fraction(str(result.alpha))
        tail = (
            f"with probability at least {rounded_down(float(pooled))}"
            if pooled > 0
            else "with no probability worth stating"
        )
        sentences.append(
            f"As one statement about all {run.samples} samples (1 − {run.samples} × alpha) it "
            f"holds {tail}."
        )
    if result.over_budgets == "joint":
        quoted = "" if result.guarantee == "dataset" else ", so a sample's budgets may be quoted"
        sentences.append(f"All budgets hold together{quoted}.")
    else:
        sentences.append(
            "It holds for each budget on its own, not for the curve as a whole, so no radius is "
            "quoted from it."
        )
    sentences += _averaging(result)
    return sentences


def per_class_sentence(result: Result) -> str:
    """What the figures of single classes promise."""
    if result.draws == "exhaustive" or result.guarantee == "dataset":
        scope = "All samples that are counted hold together, so every class does"
    else:
        scope = "Each sample that is counted holds by itself, as in the figure of all classes"
    return (
        f"{scope}. Weighted by their samples (in brackets), the classes make up the certified "
        f"accuracy; what is not certified counts as wrong in its own class. Few samples make a "
        f"share coarse, and nothing is promised of the class as a population."
    )


def confusion_sentence(result: Result) -> str:
    """What a confusion matrix with abstention says and promises."""
    chance = (
        "with certainty (all sub-samples were counted)"
        if result.draws == "exhaustive"
        else f"with probability at least 1 − {result.alpha:g} over the random draws"
        + ("" if result.guarantee == "dataset" else ", for each sample by itself")
    )
    return (
        f"A sample is in the column of the label that most votes went to where it is certified, "
        f"{chance}, that the ensemble gives that label under every attack within the budget, true "
        f"or not; otherwise it is abstained, which is not a class and not an error. The label is "
        f"chosen without looking at the truth, so alpha is shared among the labels, and the "
        f"diagonal may hold fewer samples than the robust figure, which tests the true label alone."
    )


def _averaging(result: Result) -> list[str]:
    """Over what the figure is a mean, and what was left out of it."""
    sentences = []
    average = result.reading.get("average")
    if isinstance(average, str):
        sentences.append(
            f"Each figure is a {average}." if "mean" in average else f"{_upper(average)}."
        )
    left_out = result.reading.get("left_out")
    if isinstance(left_out, dict):
        for what, count in left_out.items():
            counts = count if isinstance(count, list) else [count]
            if any(counts):
                listed = ", ".join(str(one) for one in counts)
                sentences.append(f"Left out of the mean, {what}: {listed}.")
    return sentences


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
