"""What a plan on validation votes is for: target, statistics, draws, and where it may look."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mmcert.certification.options import Option, parse_statistics
from mmcert.certification.prediction import Goal
from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError, UnsoundError
from mmcert.jobs.certification import check_same_kind
from mmcert.jobs.certify_config import merged_config
from mmcert.jobs.checkpoint import find_checkpoint, load_checkpoint
from mmcert.jobs.workload import build_data
from mmcert.theory.attacks import Attack
from mmcert.theory.modality import modalities_from
from mmcert.theory.planning import certifiable
from mmcert.theory.schemes import SCHEMES, Scheme, make_scheme

#: The figure that is planned for where none is named, by task.
METRIC = {"segmentation": "certified_f_score", "classification": "certified_accuracy"}
#: Statistics by preference where none is named: those that certify most of what was voted.
PREFERRED = ("closed_evalues", "margin", "binomial", "holm", "bonferroni")
#: Budgets of the curves, in parts of the target.
RAY = tuple(Fraction(part, 4) for part in (0, 1, 2, 3, 4, 5, 6, 8))


@dataclass(frozen=True)
class PlanGoal:
    """A checkpoint, the samples that a plan may look at, and what is wanted of a certification.

    Args:
        checkpoint: Path of its file, and
        sha256: its SHA-256.
        given: Configuration of a certification of the validation split, without scheme and k.
        task: Of the checkpoint.
        ids: Validation samples, all of the split.
        n: Elements of the first one.
        modification_only: Why a modality's elements can only be modified, where it is so.
        k: Where the search begins.
        scheme: That is planned for.
        schemes: That are compared, this one first.
        target: Budget.
        goal: The figure along the ray of the target.
        draws: N of the certification.
        statistics: Section of the certification.
        split: That will be certified.
        test_samples: Of it.
        processes: That the certification will have; None: one per core, or one per GPU.
    """

    checkpoint: str
    sha256: str
    given: Mapping[str, Any]
    task: str
    ids: tuple[str, ...]
    n: Mapping[str, int]
    modification_only: Mapping[str, str]
    k: Mapping[str, int]
    scheme: str
    schemes: tuple[str, ...]
    target: Mapping[str, int]
    goal: Goal
    draws: int
    statistics: Mapping[str, Any]
    split: str
    test_samples: int
    processes: int | None

    def make(self, scheme: str, k: Mapping[str, int]) -> Scheme:
        """The scheme of a sample like the first one.

        Raises:
            ConfigError: Where ``k`` does not fit.
        """
        return make_scheme(scheme, self.n, k=k, modification_only=self.modification_only)

    def delta(self, scheme: str, k: Mapping[str, int]) -> float:
        """The share of the draws that an attack within the target reaches."""
        return float(self.make(scheme, k).delta(Attack(dict(self.target), dict(self.goal.kinds))))

    def in_reach(self, scheme: str, k: Mapping[str, int], N: int) -> bool:
        """Whether unanimous votes could certify the target: if not, no vote is needed to know."""
        option = self.goal.option
        settings = {"levels": option.levels, "weights": option.weights}
        P = max(self.n.values()) if self.task == "segmentation" else 1
        return certifiable(
            self.make(scheme, k),
            [self.target],
            dict(self.goal.kinds),
            N=N,
            alpha=self.goal.alpha,
            P=P,
            statistics="margin" if option.test == "margin" else option.name,
            options={"method": option.method, "over_budgets": option.over_budgets, **settings},
        )[0]


def plan_goal(config: Mapping[str, Any]) -> PlanGoal:
    """Read the checkpoint and the configuration.

    Raises:
        MmcertError: For whatever does not fit together; nothing is voted yet.
    """
    stored, split, _, sha256 = load_checkpoint(config["checkpoint"])
    wanted = dict(config.get("target") or {})
    if not wanted.get("budget"):
        raise ConfigError(
            "set target.budget, the attack that you fear, e.g. "
            f"'target.budget={{{', '.join(f'{name}: 5' for name in stored['inputs'])}}}'."
        )
    names = list(stored["inputs"])
    threat = {**(stored.get("threat") or {}), **_set(config.get("threat"))}
    section = {"kind": threat.get("kind"), "budgets": [wanted["budget"]]}
    (target,), kinds = budgets_from(section, names)
    if not any(target.values()):
        raise ConfigError("target.budget: attack at least one element of one modality.")
    budgets = _ray(target)
    plan = dict(config.get("plan") or {})
    looked_at, certified = plan.get("split") or "val", (config.get("data") or {}).get("split")
    certified = certified or (stored.get("data") or {}).get("split") or "test"
    if looked_at == certified or "all" in (looked_at, certified):
        raise ConfigError(
            f"plan.split={looked_at} and data.split={certified}: k must not be chosen on samples "
            f"that are certified with it; choose two splits without a common sample."
        )
    given = _certification(config, looked_at, kinds, budgets)
    merged = merged_config(stored, given)
    workload = {
        "data": {**merged["data"], "max_samples": None},
        "data_seed": merged["data_seed"],
        "stored_split": split,
        "allow_code": given["allow_code"],
    }
    dataset = build_data(workload)
    check_same_kind(stored, dataset, str(config["checkpoint"]))
    if not dataset.ids:
        raise ConfigError(f"the split '{looked_at}' has no sample to choose k on; set plan.split.")
    first = dataset[0]
    n = {
        name: spec.count(tuple(first["inputs"][name].shape))
        for name, spec in dataset.inputs.items()
    }
    scheme = merged["scheme"]
    k = {m.name: m.k for m in modalities_from(n, k=scheme.get("k"), ratio=scheme.get("ratio"))}
    options = parse_statistics(merged["statistics"], dataset.task, len(dataset.classes))
    option = _option(options, wanted.get("statistics"))
    guarantee = wanted.get("guarantee") or _guarantee(option)
    if dataset.task == "segmentation" and option.families:  # the other family is not looked at
        family = "dataset" if guarantee == "dataset" else "sample"
        option = dataclasses.replace(option, families=(family,))
    test = dataset.splits[certified]
    if not test:
        raise ConfigError(f"the split '{certified}' has no sample to certify; set data.split.")
    limit = (config.get("data") or {}).get("max_samples")
    fixed = {name: spec.modification_only for name, spec in dataset.inputs.items()}
    name = scheme.get("name") or "mmcert"
    goal = Goal(
        option=option,
        guarantee=guarantee,
        metric=wanted.get("metric") or METRIC[dataset.task],
        budgets=tuple(budgets),
        kinds=kinds,
        alpha=merged["alpha"],
        future=len(test) if limit is None else min(len(test), int(limit)),
        coverage=float(plan.get("coverage") or 0.9),
    )
    made = PlanGoal(
        checkpoint=str(find_checkpoint(config["checkpoint"]).resolve()),
        sha256=sha256,
        given=given,
        task=dataset.task,
        ids=tuple(dataset.ids),
        n=n,
        modification_only=fixed,
        k=k,
        scheme=name,
        schemes=(name,),
        target=target,
        goal=goal,
        draws=int(_first((config.get("voting") or {}).get("draws"), merged["voting"]["draws"])),
        statistics=merged["statistics"],
        split=certified,
        test_samples=goal.future,
        processes=merged["voting"].get("processes"),
    )
    return dataclasses.replace(made, schemes=_schemes(made, plan.get("schemes")))


def _certification(
    config: Mapping[str, Any],
    split: str,
    kinds: Mapping[str, str],
    budgets: Sequence[Mapping[str, int]],
) -> dict[str, Any]:
    """The configuration of a certification of the validation split."""
    voting = {**(config.get("voting") or {}), "mode": "fixed", "selection_draws": 0}
    return {
        "checkpoint": config["checkpoint"],
        "allow_code": list(config.get("allow_code") or ()),
        "data": {**(config.get("data") or {}), "split": split, "max_samples": None},
        "scheme": dict(config.get("scheme") or {}),
        "threat": {"kind": dict(kinds), "budgets": [dict(budget) for budget in budgets]},
        "statistics": dict(config.get("statistics") or {}),
        "voting": voting,
        "alpha": config.get("alpha"),
        "seed": config.get("seed"),
        "maps": False,
    }


def _ray(target: Mapping[str, int]) -> list[dict[str, int]]:
    """Budgets from no attack over the target to twice of it, in its ratio.

    Steps are whole elements of the modality that is attacked least, so that a small target has no
    two budgets in which only the rounding differs.

    >>> _ray({"rgb": 2, "depth": 4})[:2]
    [{'rgb': 0, 'depth': 0}, {'rgb': 1, 'depth': 2}]
    """
    least = min(r for r in target.values() if r > 0)
    steps = dict.fromkeys(round(part * least) for part in RAY)
    return [{name: int(Fraction(step * r, least)) for name, r in target.items()} for step in steps]


def _option(options: Sequence[Option], wanted: str | None) -> Option:
    by_name = {option.name: option for option in options}
    if wanted is not None and wanted not in by_name:
        raise ConfigError(
            f"target.statistics={wanted}: this plan evaluates {', '.join(by_name)}; "
            f"name it under statistics= too."
        )
    names = [name for name in (wanted, *PREFERRED) if name in by_name]
    if not names:
        raise ConfigError(f"a plan needs one of the statistics {', '.join(PREFERRED)}.")
    return by_name[names[0]]


def _guarantee(option: Option) -> str:
    """The guarantee that does not depend on how many samples a split has, where there is one."""
    if option.task == "classification":
        return "dataset" if option.families else "per_sample"
    if not option.families:
        return "per_element"
    return "per_sample" if "sample" in option.families else "dataset"


def _schemes(goal: PlanGoal, wanted: object) -> tuple[str, ...]:
    """The scheme that is planned for and those beside it that certify this threat."""
    asked = list(SCHEMES) if wanted is None else wanted
    if not isinstance(asked, list) or any(name not in SCHEMES for name in asked):
        raise ConfigError(f"plan.schemes={wanted}: give a list out of {', '.join(SCHEMES)}.")
    found = []
    for name in dict.fromkeys([goal.scheme, *asked]):
        try:
            goal.make(name, goal.k).check(Attack(dict(goal.target), dict(goal.goal.kinds)))
        except (ConfigError, UnsoundError):
            if name == goal.scheme:
                raise
            continue  # it does not exist for these modalities, or certifies no such threat
        found.append(name)
    return tuple(found)


def _set(section: Any) -> dict[str, Any]:
    return {key: value for key, value in (section or {}).items() if value is not None}


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
