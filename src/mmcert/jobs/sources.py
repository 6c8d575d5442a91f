"""The run that votes on disk came from, and what it forbids."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mmcert.errors import RecordError
from mmcert.records.folders import VotesFolders
from mmcert.records.run import RunDescription, read_run
from mmcert.records.votes import votes_sha256
from mmcert.theory.attacks import Attack
from mmcert.theory.encodings import check_encoding
from mmcert.theory.schemes import SCHEMES


@dataclasses.dataclass(frozen=True)
class SourceRun:
    """The run that made the votes.

    Args:
        folder: Its directory.
        description: Its ``run.json``.
        config: Its ``config.yaml``, or empty.
    """

    folder: Path
    description: RunDescription
    config: Mapping[str, Any]


def source_run(folders: tuple[Path, ...]) -> SourceRun | None:
    """The run directory around the votes; of several folders, the first one's.

    Raises:
        RecordError: Where its files are broken.
    """
    folder = folders[0].parent
    if folders[0].name != "votes" or not (folder / "run.json").is_file():
        return None
    config: Any = {}
    path = folder / "config.yaml"
    if path.is_file():
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecordError(f"{path}: not readable ({error}); certify again.") from None
        if not isinstance(config, dict):
            raise RecordError(f"{path}: must hold a mapping; certify again.")
    return SourceRun(folder, read_run(folder), config)


def check_untouched(
    votes: VotesFolders, source: SourceRun | None, elsewhere: Mapping[str, Path] | None = None
) -> None:
    """Refuse votes that are not those that the run's ``run.json`` lists, and unfinished runs.

    Of several folders each is checked against its own, and shards must be all of a run.

    Args:
        votes: The votes.
        source: The run that made them.
        elsewhere: The folder of every sample, of all that are evaluated together with these: votes
            may have been moved there, but not changed.

    Raises:
        RecordError: Naming the sample.
    """
    if source is None:
        return
    if len(votes.folders) > 1:
        parts = [VotesFolders([folder]) for folder in votes.folders]
        homes = {sample_id: part.folders[0] for part in parts for sample_id in part.ids}
        for part in parts:
            check_untouched(part, source_run(part.folders), homes)
        planned = (source.description.fingerprint_of.get("samples") or {}).get("count", 0)
        if "shard" in source.description.extra and len(votes.ids) < planned:
            raise RecordError(
                f"the folders of votes= hold {len(votes.ids)} of the {planned} samples of this "
                f"run; a figure without the others would be chosen after the votes. Name all "
                f"shards."
            )
        return
    stored = source.description.votes_sha256
    planned = (source.description.fingerprint_of.get("samples") or {}).get("count", 0)
    homes = {**(elsewhere or {}), **dict.fromkeys(votes.ids, votes.folders[0])}
    if not stored and len(homes) < planned:
        raise RecordError(
            f"{votes.folders[0]}: {len(votes.ids)} of the {planned} samples of this run have all "
            f"their votes; finish the run with the line of mmcert-certify that began it."
        )
    if missing := sorted(stored.keys() - homes.keys()):
        raise RecordError(
            f"{votes.folders[0]}: votes that run.json lists are missing ({len(missing)} in all, "
            f"e.g. {missing[0]}.npz); a figure without them would be chosen after the votes. "
            f"Restore them, or certify again."
        )
    for sample_id, digest in stored.items():
        if votes_sha256(homes[sample_id], sample_id) != digest:
            raise RecordError(
                f"{homes[sample_id]}/{sample_id}.npz: not the file that the run wrote (its SHA-256 "
                f"differs from run.json); restore it, or certify again."
            )


def check_votes_allow(
    votes: VotesFolders,
    source: SourceRun | None,
    kinds: Mapping[str, str] | str,
    say: Callable[[str], None],
) -> None:
    """Refuse threat kinds that the elements or the encoding of the model's input do not allow.

    Raises:
        UnsoundError: With the reason.
    """
    names = votes.meta.names
    SCHEMES[votes.meta.scheme](votes.meta.modalities).check(Attack(dict.fromkeys(names, 0), kinds))
    encoding = source.config.get("encoding") if source is not None else None
    if not isinstance(encoding, Mapping):
        asked = {kinds} if isinstance(kinds, str) else set(kinds.values())
        if asked - {"modification"}:
            say(
                "the votes do not say how the base model saw its input; certificates against "
                "addition, deletion and edits hold only if that was the retained values in their "
                "order and nothing else, with the same k for inputs of any size."
            )
        return
    if "name" in encoding:
        encodings = dict.fromkeys(names, str(encoding["name"]))
    else:
        encodings = {name: str((encoding.get(name) or {}).get("name")) for name in names}
    scheme = source.config.get("scheme") if source is not None else None
    ratio = isinstance(scheme, Mapping) and scheme.get("ratio") is not None
    check_encoding(encodings, kinds, ratio)
