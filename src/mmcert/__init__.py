"""Provable robustness of multi-modal models, by votes over random sub-samples.

>>> from mmcert import Attack, IndependentSubsampling, certify
>>> n, k = {"image": 784, "audio": 50}, {"image": 60, "audio": 5}
>>> scheme = IndependentSubsampling.from_counts(n, k)
>>> bool(certify([980, 15, 5], scheme, Attack({"image": 2, "audio": 1}), labels=0).certified)
True

Names are imported when they are first used: ``import mmcert`` stays light, and only
:func:`draw_subsets` needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcert.certification.api import Certified as Certified
    from mmcert.certification.api import certify as certify
    from mmcert.certification.evaluate import evaluate as evaluate
    from mmcert.errors import MmcertError as MmcertError
    from mmcert.sampling.subsets import draw_subsets as draw_subsets
    from mmcert.theory.attacks import Attack as Attack
    from mmcert.theory.attacks import ThreatKind as ThreatKind
    from mmcert.theory.modality import Modality as Modality
    from mmcert.theory.schemes import AlignedSubsampling as AlignedSubsampling
    from mmcert.theory.schemes import IndependentSubsampling as IndependentSubsampling
    from mmcert.theory.schemes import PooledSubsampling as PooledSubsampling
    from mmcert.theory.schemes import make_scheme as make_scheme

__version__ = "0.1.0"

_HOME = {
    "AlignedSubsampling": "mmcert.theory.schemes",
    "Attack": "mmcert.theory.attacks",
    "Certified": "mmcert.certification.api",
    "IndependentSubsampling": "mmcert.theory.schemes",
    "Modality": "mmcert.theory.modality",
    "MmcertError": "mmcert.errors",
    "PooledSubsampling": "mmcert.theory.schemes",
    "ThreatKind": "mmcert.theory.attacks",
    "certify": "mmcert.certification.api",
    "draw_subsets": "mmcert.sampling.subsets",
    "evaluate": "mmcert.certification.evaluate",
    "make_scheme": "mmcert.theory.schemes",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mmcert' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
