"""A certification by a plan: k as it was chosen on validation, on samples that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcert.errors import ConfigError, RecordError, UnsoundError
from mmcert.records.atomic import atomic_write
from mmcert.records.plan import find_plan, read_plan


@dataclass(frozen=True)
class PlannedRun:
    """The plan that a certification follows.

    Args:
        path: Its file.
        sha256: Of the file.
        document: Its content.
        chosen: The scheme, k, draws and prediction in it that are certified.
    """

    path: Path
    sha256: str
    document: Mapping[str, Any]
    chosen: Mapping[str, Any]

    def check(self, checkpoint_sha256: str, split: str, ids: Sequence[str]) -> None:
        """Refuse another checkpoint, and samples on which k was chosen.

        Raises:
            RecordError: For another checkpoint.
            UnsoundError: Where the choice looked at a sample that would be certified.
        """
        if self.document["checkpoint"]["sha256"] != checkpoint_sha256:
            theirs = str(self.document["checkpoint"]["sha256"])
            raise RecordError(
                f"{self.path}: this plan is for another checkpoint (SHA-256 {theirs[:12]}..., not "
                f"{checkpoint_sha256[:12]}...); plan again with mmcert-plan checkpoint=..."
            )
        on = self.document["chosen_on"]
        common = sorted(set(on["ids"]) & set(ids))
        if split == on["split"] or common:
            seen = f", e.g. {common[0]}" if common else ""
            raise UnsoundError(
                f"{self.path}: k was chosen on the split '{on['split']}' ({len(common)} of the "
                f"samples to certify{seen}), and a certificate must not be about samples that "
                f"chose it; certify data.split={self.document['certify']['split']}."
            )

    def check_followed(self, run_dir: Path, extra: Mapping[str, Any]) -> None:
        """Refuse to say of votes that are there that they followed a plan that they did not.

        Raises:
            RecordError: Where ``run.json`` names no plan, or another one.
        """
        named = extra.get("plan")
        if not isinstance(named, Mapping) or named.get("sha256") != self.sha256:
            raise RecordError(
                f"{run_dir} holds a certification that did not follow {self.path}; choose another "
                f"run_dir."
            )

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says of the choice."""
        on, target = self.document["chosen_on"], self.document["target"]
        return {
            "sha256": self.sha256,
            "k_chosen_on": on["split"],
            "samples": len(on["ids"]),
            "draws": on["draws"],
            "target": dict(target["budget"]),
            "predicted": {
                "metric": target["metric"],
                "statistics": target["statistics"],
                "coverage": self.document["interval"]["coverage"],
                **{key: self.chosen["at_target"][key] for key in ("value", "low", "high")},
            },
        }

    def keep(self, run_dir: Path) -> None:
        """Leave a copy of the plan in the run directory, byte by byte."""
        with atomic_write(run_dir / "plan.json") as stream:
            stream.write(self.path.read_bytes())


def with_plan(given: Mapping[str, Any]) -> tuple[dict[str, Any], PlannedRun | None]:
    """The configuration of a certification with what its plan says, where it has one.

    The plan gives scheme, k, draws, budgets, statistics, alpha, data and checkpoint; what the
    command line sets of budgets, statistics, alpha and data wins. ``scheme.name`` chooses among the
    schemes of the plan, each with its own best k.

    Raises:
        ConfigError: Where neither a plan nor a checkpoint is given; where the command line sets
            what the plan decides.
        RecordError: Where the plan cannot be read.
    """
    config = dict(given)
    path = config.get("plan")
    if path is None:
        if config.get("checkpoint") is None:
            raise ConfigError("set checkpoint= (or plan=); mmcert-certify --help shows how.")
        return config, None
    document, sha256 = read_plan(path)
    scheme = dict(config.get("scheme") or {})
    if scheme.get("k") is not None or scheme.get("ratio") is not None:
        raise ConfigError("scheme.k is what the plan decides; leave it away, or leave plan= away.")
    chosen = document["chosen"]
    if scheme.get("name") is not None:
        if scheme["name"] not in document["best"]:
            raise ConfigError(
                f"scheme.name={scheme['name']}: the plan has {', '.join(document['best'])}."
            )
        chosen = document["best"][scheme["name"]]
    planned = PlannedRun(find_plan(path), sha256, document, chosen)
    voting = dict(config.get("voting") or {})
    threat = dict(config.get("threat") or {})
    data = dict(config.get("data") or {})
    if threat.get("grid") is None and threat.get("budgets") is None:
        threat["budgets"] = [dict(budget) for budget in document["certify"]["budgets"]]
    if threat.get("kind") is None:
        threat["kind"] = dict(document["target"]["kinds"])
    for key, value in document["chosen_on"]["data"].items():
        if not data.get(key):
            data[key] = value
    if data.get("split") is None:
        data["split"] = document["certify"]["split"]
    if voting.get("draws") is None:
        voting["draws"] = chosen["draws"]
    config |= {
        "checkpoint": config.get("checkpoint") or document["checkpoint"]["path"],
        "scheme": {"name": chosen["scheme"], "k": dict(chosen["k"]), "ratio": None},
        "threat": threat,
        "data": data,
        "voting": voting,
        "statistics": config.get("statistics") or dict(document["certify"]["statistics"]),
    }
    if config.get("alpha") is None:
        config["alpha"] = document["certify"]["alpha"]
    return config, planned
