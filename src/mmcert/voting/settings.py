"""How to vote: draws, blocks, processes, precision; and the scheme each sample gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmcert.errors import ConfigError, DataError
from mmcert.theory.modality import InputSpec
from mmcert.theory.schemes import Scheme, make_scheme

#: Names as Lightning Fabric gives them. A bf16 base model is another base model than a float32 one.
PRECISIONS = ("32-true", "bf16-mixed")
MODES = ("fixed", "sequential", "exhaustive")


@dataclass(frozen=True)
class VotingSettings:
    """The ``voting`` section of a configuration.

    Args:
        draws: ``N``, Monte Carlo draws per sample (at most, where voting is sequential).
        selection_draws: Draws that only choose the label of a *stable* claim; counted apart.
        block: Draws per forward pass; null takes the model's own, ``auto`` is found before the
            vote (``voting.block``). Part of the fingerprint, since float rounding depends on the
            shape of a batch.
        processes: Processes on this machine; null is one per core, or one per GPU.
        threads: Threads per process.
        precision: ``32-true`` or ``bf16-mixed`` (autocast).
        channels_last: Memory layout of the network, another rounding.
        compile: Whether ``torch.compile`` makes the code of the labels, another rounding.
        segment_seconds: A long sample is voted in segments of about this time; a killed run loses
            at most one segment per process.
        mode: ``fixed``, ``sequential`` or ``exhaustive``.
        budget: Target budget of ``sequential``, per modality.
        look_every: Draws between two looks at the votes of ``sequential``; null is one block.
        limit: Largest number of sub-samples that ``exhaustive`` enumerates.
        rendezvous_minutes: How long processes wait for each other at the start.

    Raises:
        ConfigError: Naming the key that makes no sense.
    """

    draws: int
    selection_draws: int = 0
    block: int | str | None = None
    processes: int | None = None
    threads: int = 1
    precision: str = "32-true"
    channels_last: bool = False
    compile: bool = False
    segment_seconds: float = 20.0
    mode: str = "fixed"
    budget: Mapping[str, int] | None = None
    look_every: int | None = None
    limit: int = 1_000_000
    rendezvous_minutes: float = 5.0

    def __post_init__(self) -> None:
        for key, least in (("draws", 1), ("selection_draws", 0), ("threads", 1), ("limit", 1)):
            _check_integer(key, getattr(self, key), least)
        for key in ("block", "processes", "look_every"):
            value = getattr(self, key)
            if value is not None and (key, value) != ("block", "auto"):
                _check_integer(key, value, 1)
        for key in ("channels_last", "compile"):
            if not isinstance(getattr(self, key), bool):
                raise ConfigError(
                    f"voting.{key} must be true or false, not {getattr(self, key)!r}."
                )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"voting.precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}."
            )
        if self.mode not in MODES:
            raise ConfigError(f"voting.mode must be one of {', '.join(MODES)}, not {self.mode!r}.")
        if self.mode == "sequential" and not self.budget:
            raise ConfigError(
                "voting=sequential needs a target: set voting.budget, e.g. {rgb: 5, depth: 10}; "
                "target.metric and target.level say what must be certified there."
            )
        if not self.rendezvous_minutes > 0:
            raise ConfigError(
                f"voting.rendezvous_minutes must be above 0, not {self.rendezvous_minutes}."
            )
        if not self.segment_seconds > 0:
            raise ConfigError(f"voting.segment_seconds must be above 0, not {self.segment_seconds}")

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> VotingSettings:
        """The settings of a ``voting`` section; null means the default.

        Raises:
            ConfigError: For an unknown key, a missing ``draws``, or a value that makes no sense.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(section) - set(known))
        if unknown:
            raise ConfigError(f"voting has no key {unknown[0]!r}; its keys are {', '.join(known)}.")
        given = {key: value for key, value in section.items() if value is not None}
        if "draws" not in given:
            raise ConfigError("voting.draws (N, Monte Carlo draws per sample) is not set.")
        return cls(**given)


@dataclass(frozen=True)
class StoppingRule:
    """When sequential voting ends for a sample: its target is reached, or out of reach.

    Args:
        budget: The target budget, per modality.
        kinds: Threat kind per modality.
        metric: What must be certified there, e.g. ``certified_f_score`` of the sample.
        level: How much of it.
        alpha: Failure probability of the certificates.
        statistics: Settings of ``closed_evalues``.
        every: Draws between two looks at the votes, whole blocks.
    """

    budget: Mapping[str, int]
    kinds: Mapping[str, str]
    metric: str
    level: float
    alpha: float
    statistics: Mapping[str, Any]
    every: int

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data (for the fingerprint: it decides how many votes there are)."""
        return asdict(self)


def _check_integer(key: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        auto = ", or auto" if key == "block" else ""
        raise ConfigError(
            f"voting.{key} must be an integer of at least {least}{auto}, not {value!r}."
        )


@dataclass(frozen=True)
class SchemeSpec:
    """A scheme before the sample is known: its name and what it retains.

    Args:
        name: ``mmcert``, ``randomized_ablation`` or ``randomized_ablation_aligned``.
        k: Retained elements per modality, or None.
        ratio: Retained ratio per modality, or None; exactly one of the two.
    """

    name: str
    k: Mapping[str, int] | None = None
    ratio: Mapping[str, float] | None = None

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> SchemeSpec:
        """The spec of a ``scheme`` section."""
        return cls(section["name"], k=section.get("k"), ratio=section.get("ratio"))

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data (for the fingerprint)."""
        return {
            "name": self.name,
            "k": None if self.k is None else dict(self.k),
            "ratio": None if self.ratio is None else dict(self.ratio),
        }

    def for_sample(self, sample: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> Scheme:
        """The scheme of one sample, by its own number of elements (image sizes vary).

        Raises:
            DataError: Naming the sample, where it lacks a modality.
            ConfigError: Naming the sample, where ``k`` does not fit its ``n``.
        """
        inputs = sample["inputs"]
        missing = [name for name in specs if name not in inputs]
        if missing:
            raise DataError(f"sample '{sample['id']}' has no modality '{missing[0]}'.")
        n = {name: spec.count(tuple(inputs[name].shape)) for name, spec in specs.items()}
        try:
            return make_scheme(
                self.name,
                n,
                k=self.k,
                ratio=self.ratio,
                elements={name: spec.element for name, spec in specs.items()},
                modification_only={name: spec.modification_only for name, spec in specs.items()},
            )
        except ConfigError as error:
            raise ConfigError(f"sample '{sample['id']}': {error}") from None
