"""``votes/meta.json``: what all samples of a votes folder have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmcert.errors import ConfigError, RecordError
from mmcert.records.atomic import check_schema, read_json, write_json
from mmcert.theory.modality import Modality
from mmcert.theory.schemes import SCHEMES

SCHEMA = 1
TASKS = ("classification", "segmentation")
VOTING = ("fixed", "sequential", "exhaustive")
REMEDY = "see 'Votes' in the documentation for the format, or run mmcert-certify again."


@dataclass(frozen=True)
class VotesMeta:
    """What all samples of a votes folder have in common.

    Args:
        task: ``classification`` or ``segmentation``.
        scheme: Name of the sub-sampling scheme, a key of ``mmcert.theory.schemes.SCHEMES``.
        modalities: Modalities with the ``n`` and ``k`` of a sample that states none of its own.
            The order is the order of ``n`` and ``k`` in a sample's file.
        draws: Votes per element of a sample that states none of its own.
        classes: Number of classes, at least 2.
        class_names: Their names, in order, or empty.
        ignore_index: Target value of an element without a label.
        voting: ``fixed`` number of draws, ``sequential`` (stopped by its votes), or ``exhaustive``.
        enumeration: SHA-256 of the ordered enumeration (exhaustive voting only).
        fingerprint: Fingerprint of the run that made the votes, where one is known.

    Raises:
        RecordError: Where a field is out of range.
    """

    task: str
    scheme: str
    modalities: tuple[Modality, ...]
    draws: int
    classes: int
    class_names: tuple[str, ...] = ()
    ignore_index: int = 255
    voting: str = "fixed"
    enumeration: str | None = None
    fingerprint: str | None = None
    schema: int = field(default=SCHEMA, kw_only=True)

    def __post_init__(self) -> None:
        _require(self.task in TASKS, f"task is {self.task!r}; use one of {', '.join(TASKS)}")
        _require(
            self.scheme in SCHEMES, f"scheme is {self.scheme!r}; use one of {', '.join(SCHEMES)}"
        )
        _require(
            self.voting in VOTING, f"voting is {self.voting!r}; use one of {', '.join(VOTING)}"
        )
        _require(_is_count(self.draws, 1), f"draws must be an integer >= 1, not {self.draws!r}")
        _require(
            _is_count(self.classes, 2) and self.classes <= 2**31,
            f"classes must be an integer >= 2 (or a list of names), not {self.classes!r}",
        )
        _require(
            not self.class_names or len(self.class_names) == self.classes,
            f"class_names has {len(self.class_names)} entries for {self.classes} classes",
        )
        labels = isinstance(self.ignore_index, int) and not isinstance(self.ignore_index, bool)
        _require(
            labels and not 0 <= self.ignore_index < self.classes,
            f"ignore_index {self.ignore_index!r} must be an integer that is no class index",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The modality names in order."""
        return tuple(modality.name for modality in self.modalities)

    def to_json(self) -> dict[str, Any]:
        """The content of ``meta.json``."""
        document: dict[str, Any] = {
            "schema": self.schema,
            "task": self.task,
            "scheme": self.scheme,
            "modalities": {m.name: _described(m) for m in self.modalities},
            "draws": self.draws,
            "classes": self.classes,
            "ignore_index": self.ignore_index,
            "voting": self.voting,
        }
        if self.class_names:
            document["class_names"] = list(self.class_names)
        for name in ("enumeration", "fingerprint"):
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        return document


def _described(modality: Modality) -> dict[str, Any]:
    entry: dict[str, Any] = {"n": modality.n, "k": modality.k, "element": modality.element}
    if modality.modification_only:
        entry["modification_only"] = modality.modification_only
    return entry


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise RecordError(f"{problem}.")


def meta_from_json(document: Mapping[str, Any], path: str | Path) -> VotesMeta:
    """Check and parse the content of a ``meta.json``; ``path`` is for messages.

    Raises:
        RecordError: Naming the file, the key, and what to do.
    """
    check_schema(dict(document), path, SCHEMA, f"use the version that wrote it, or {REMEDY}")
    missing = [
        key
        for key in ("task", "scheme", "modalities", "draws", "classes")
        if document.get(key) is None
    ]
    if missing:
        raise RecordError(f"{path}: {', '.join(missing)} missing; {REMEDY}")
    classes, names = document["classes"], document.get("class_names") or ()
    if isinstance(classes, list):
        classes, names = len(classes), classes
    try:
        return VotesMeta(
            task=document["task"],
            scheme=document["scheme"],
            modalities=_modalities(document["modalities"]),
            draws=document["draws"],
            classes=classes,
            class_names=tuple(str(name) for name in names),
            ignore_index=document.get("ignore_index", 255),
            voting=document.get("voting", "fixed"),
            enumeration=document.get("enumeration"),
            fingerprint=document.get("fingerprint"),
        )
    except (RecordError, ConfigError) as error:
        raise RecordError(f"{path}: {str(error).rstrip('.')}; {REMEDY}") from None


def _modalities(described: object) -> tuple[Modality, ...]:
    if not isinstance(described, dict) or not described:
        raise RecordError("modalities must map each name to its n and k.")
    result = []
    for name, entry in described.items():
        if not isinstance(entry, dict):
            raise RecordError(f"modalities.{name} must hold n and k.")
        absent = [key for key in ("n", "k") if entry.get(key) is None]
        if absent:
            raise RecordError(f"modalities.{name}: {' and '.join(absent)} missing.")
        result.append(
            Modality(
                name,
                entry["n"],
                entry["k"],
                str(entry.get("element") or "element"),
                str(entry.get("modification_only") or ""),
            )
        )
    return tuple(result)


def write_meta(folder: str | Path, meta: VotesMeta) -> None:
    """Write ``folder/meta.json`` atomically."""
    write_json(Path(folder) / "meta.json", meta.to_json())


def read_meta(folder: str | Path) -> VotesMeta:
    """Read ``folder/meta.json``.

    Raises:
        RecordError: Where it is missing, broken, of another schema, or says the impossible.
    """
    path = Path(folder) / "meta.json"
    return meta_from_json(read_json(path, "the description of the votes", REMEDY), path)
