"""One job each, as a function of a plain configuration and a run directory.

A notebook, a script or a scheduler of your own calls them without a command line::

    from mmcert.cli.compose import compose
    from mmcert.jobs import certify, evaluate, train

    train(compose("train", ["experiment=avmnist_mmcert", "data.root=DATA"]), "runs/training")
    certify({"checkpoint": "runs/training"}, "runs/mmcert")
    evaluate({"votes": "runs/mmcert", "alpha": 0.01}, "runs/mmcert_at_01")

A configuration is a dictionary with the keys of ``conf/<command>.yaml``;
:func:`mmcert.cli.compose.compose` makes one from Hydra's groups. Functions say nothing unless they
are given a ``console``. Names are imported when they are first used: only ``train``, ``certify``
and ``convert`` need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcert.jobs.certification import certify as certify
    from mmcert.jobs.conversion import convert as convert
    from mmcert.jobs.evaluation import evaluate as evaluate
    from mmcert.jobs.planning import plan as plan
    from mmcert.jobs.preparation import prepare as prepare
    from mmcert.jobs.reporting import report as report
    from mmcert.jobs.training.training import train as train

_HOME = {
    "certify": "mmcert.jobs.certification",
    "convert": "mmcert.jobs.conversion",
    "evaluate": "mmcert.jobs.evaluation",
    "plan": "mmcert.jobs.planning",
    "prepare": "mmcert.jobs.preparation",
    "report": "mmcert.jobs.reporting",
    "train": "mmcert.jobs.training.training",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mmcert.jobs' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
