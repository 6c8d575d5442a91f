"""``run.json`` and ``config.yaml``: are these the votes and the base model of the run?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from mmcert.certification.verifier.derive import Case
from mmcert.certification.verifier.findings import CheckError, Findings
from mmcert.certification.verifier.rule import number
from mmcert.certification.verifier.votes import Meta, VotesFolders

#: Encodings that show the base model positions and values of the retained elements only.
BY_POSITION = (
    "zero",
    "constant_mean",
    "retained_indicator",
    "doubling",
    "interpolation",
    "ground_height",
)
#: Encodings that show it the retained values in their order only.
BY_ORDER = ("compact",)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """A ``config.yaml``; empty where there is none.

    Raises:
        CheckError: Where it cannot be read or holds no mapping.
    """
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise CheckError(f"{path}: no mapping")
    return content


def votes_folders(run_dir: Path, run: Mapping[str, Any]) -> list[Path]:
    """Where the votes of a run are: its own folder, or those that it evaluated.

    Raises:
        CheckError: Where one is not there.
    """
    own = run_dir / "votes"
    named = run.get("votes") if run.get("command") == "evaluate" else None
    folders = [Path(str(name)) for name in named or [own]]
    if len(folders) == 1 and own.is_dir() and not folders[0].is_dir():  # the run was moved
        folders = [own]
    for folder in folders:
        if not folder.is_dir():
            raise CheckError(f"{folder}: the votes of this run are not there")
    return folders


def source_config(folder: Path) -> dict[str, Any]:
    """The configuration of the run that made the votes, which stands beside them."""
    return read_config(folder.parent / "config.yaml") if folder.name == "votes" else {}


def alpha_of(config: Mapping[str, Any]) -> Fraction | None:
    """The failure probability that a configuration asks for, or None."""
    return None if config.get("alpha") is None else number(config["alpha"], "config.yaml: alpha")


def check_run(run: Mapping[str, Any], votes: VotesFolders, findings: Findings) -> None:
    """The description of the run is whole, and its votes are those that it describes."""
    facts = run.get("fingerprint_of") or {}
    if facts:
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        message = f"run.json: fingerprint {run.get('fingerprint')}, derived {digest}"
        findings.check("description", run.get("fingerprint") == digest, message)
        _check_facts(facts, run, votes, findings)
    else:
        _absent(
            "fingerprint_of",
            "fingerprint (run.json does not say what it is made of)",
            run,
            findings,
        )
    meta = votes.meta
    expected: list[tuple[str, object, object]] = [
        ("task", run.get("task"), meta.task),
        ("scheme", run.get("scheme"), meta.scheme),
        ("stopping", run.get("stopping"), meta.voting),
        ("elements", run.get("elements"), dict(meta.elements)),
    ]
    if meta.fingerprint is not None:
        expected.append(("fingerprint", run.get("fingerprint"), meta.fingerprint))
    for name, said, found in expected:
        message = f"run.json: {name} is {said!r}, of the votes it is {found!r}"
        findings.check("description", said == found, message)


def _absent(key: str, what: str, run: Mapping[str, Any], findings: Findings) -> None:
    """Something is not recorded: of votes made elsewhere nobody can, mmcert-certify always does."""
    if run.get("command") == "certify":
        findings.fail("description", f"run.json: {key} is gone; mmcert-certify always writes it")
    else:
        findings.skip(what)


def _check_facts(
    facts: Mapping[str, Any], run: Mapping[str, Any], votes: VotesFolders, findings: Findings
) -> None:
    """What the fingerprint is made of agrees with the votes."""
    meta = votes.meta
    pairs: list[tuple[str, object, object]] = []
    checkpoint = run.get("checkpoint_sha256")
    for name, known in (("mode", meta.voting), ("checkpoint_sha256", checkpoint)):
        if name in facts:
            pairs.append((name, facts[name], known))
    samples = facts.get("samples")
    if isinstance(samples, Mapping) and run.get("command") == "certify":
        shard = shard_of(run)
        planned: object = samples.get("count")
        if shard is not None:  # every n-th sample, from the i-th on
            planned = -((shard[0] - number(planned, "run.json: samples")) // shard[1])
        pairs.append(("samples", planned, len(votes.ids)))
        digest = hashlib.sha256("\n".join(votes.ids).encode()).hexdigest()
        if samples.get("sha256_of_ids") == digest:
            findings.hold("description")
        elif shard is not None:
            findings.skip("hash of the sample ids (this is a shard of them)")
        else:
            findings.skip("hash of the sample ids (their order in the data set is not recorded)")
    for name, said, found in pairs:
        message = f"run.json: fingerprint_of says {name} = {said!r}, the votes {found!r}"
        findings.check("description", said == found, message)


def shard_of(run: Mapping[str, Any]) -> tuple[int, int] | None:
    """``(i, n)`` where the run was shard i of n."""
    said = (run.get("extra") or {}).get("shard")
    if said is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", str(said))
    if found is None or int(found[1]) >= int(found[2]):
        raise CheckError(f"run.json: shard {said!r} is not i/n")
    return int(found[1]), int(found[2])


def check_samples(
    facts: Mapping[str, Any], source: Mapping[str, Any], case: Case, findings: Findings
) -> None:
    """Every sample has the scheme, the counts and the draws that the run was set to.

    Args:
        facts: What the fingerprint is made of.
        source: Configuration of the run that made the votes.
        case: The votes.
        findings: Gets the outcome.
    """
    meta = case.meta
    for where, said in (("run.json: fingerprint_of", facts), ("config.yaml", source)):
        scheme = said.get("scheme")
        if not isinstance(scheme, Mapping) or scheme.get("name") is None:
            continue
        message = f"{where} says scheme = {scheme['name']!r}, the votes {meta.scheme!r}"
        findings.check("description", scheme["name"] == meta.scheme, message)
        for one in case.tallies:
            asked = {name: _retained(scheme, name, n, where) for name, (n, _) in one.sizes.items()}
            counts = [count for count in asked.values() if count is not None]
            if meta.scheme == "randomized_ablation_aligned" and len(counts) == len(asked):
                asked = dict.fromkeys(asked, sum(counts) // len(counts))  # one mask for all
            for name, (_, k) in one.sizes.items():
                wanted = asked[name]
                message = f"sample {one.id}: {name} keeps k = {k}, {where} says {wanted}"
                findings.check("description", wanted in (None, k), message)
    for one in case.tallies:
        if meta.voting == "fixed" and "draws" in facts:
            message = f"sample {one.id}: {one.draws} draws, run.json says {facts['draws']}"
            findings.check("description", one.draws == facts["draws"], message)
        wanted = facts.get("selection_draws")
        message = f"sample {one.id}: {one.selected} selection draws, run.json says {wanted}"
        findings.check("description", wanted in (None, one.selected), message)


def _retained(scheme: Mapping[str, Any], name: str, n: int, where: str) -> int | None:
    """``k`` of a modality of ``n`` elements: a count, or a ratio of ``n`` rounded down."""
    for key in ("k", "ratio"):
        values = scheme.get(key)
        if isinstance(values, Mapping) and values.get(name) is not None:
            wanted = number(values[name], f"{where}: scheme.{key}.{name}")
            return int(wanted * (1 if key == "k" else n))
    return None


def check_hashes(run: Mapping[str, Any], votes: VotesFolders, findings: Findings) -> None:
    """Every votes file is the one that was written: none changed, missing, or added."""
    stored = run.get("votes_sha256") or {}
    if not stored:
        _absent("votes_sha256", "SHA-256 of the votes files (run.json records none)", run, findings)
        return
    for sample_id in sorted(set(stored) | set(votes.ids)):
        homes = votes.homes.get(sample_id)
        if homes is None:
            findings.fail("votes files", f"{sample_id}.npz is missing; run.json lists it")
        elif sample_id not in stored:
            findings.fail("votes files", f"{homes[0]}/{sample_id}.npz: run.json does not list it")
        else:
            path = homes[0] / f"{sample_id}.npz"
            found = file_sha256(path)
            message = f"{path}: SHA-256 {found}, run.json says {stored[sample_id]}"
            findings.check("votes files", found == stored[sample_id], message)


def check_checkpoint(run: Mapping[str, Any], findings: Findings) -> None:
    """The checkpoint is still the file whose votes these are, where it can be found."""
    stored, path = run.get("checkpoint_sha256"), run.get("checkpoint")
    if stored is None:
        _absent("checkpoint_sha256", "checkpoint (run.json records no SHA-256)", run, findings)
    elif path is None:
        findings.skip("checkpoint (run.json does not say where it was)")
    elif not Path(path).is_file():
        findings.skip(f"checkpoint (no file at {path})")
    else:
        found = file_sha256(Path(path))
        message = f"{path}: SHA-256 {found}, run.json says {stored}"
        findings.check("checkpoint", found == stored, message)


def check_document(
    document: Mapping[str, Any], meta: Meta, samples: int, findings: Findings
) -> None:
    """``metrics.json`` is about these votes."""
    for name, said, found in (
        ("task", document.get("task"), meta.task),
        ("scheme", document.get("scheme"), meta.scheme),
        ("samples", document.get("samples"), samples),
        ("elements", document.get("elements"), dict(meta.elements)),
    ):
        message = f"metrics.json: {name} is {said!r}, of the votes it is {found!r}"
        findings.check("settings", said == found, message)


def check_encoding(source: Mapping[str, Any], case: Case, findings: Findings) -> None:
    """Equal sub-samples gave equal inputs: what the base model saw is sound against the threat."""
    for name, reason in case.meta.modification_only.items():
        kind = case.kinds.get(name, "modification")
        message = f"meta.json: {kind} of {name} cannot be certified, only modification: {reason}"
        findings.check("settings", kind == "modification", message)
    encoding = source.get("encoding")
    if not isinstance(encoding, Mapping):
        findings.skip("encoding of the base model's input (no configuration says it)")
        return
    scheme = source.get("scheme")
    ratio = isinstance(scheme, Mapping) and scheme.get("ratio") is not None
    for name, kind in case.kinds.items():
        one = encoding if "name" in encoding else encoding.get(name)
        used = one.get("name") if isinstance(one, Mapping) else None
        if kind == "modification":
            holds = used in BY_POSITION or used in BY_ORDER
        else:
            holds = used in BY_ORDER and not ratio
        message = f"config.yaml: {kind} of {name} cannot be certified with encoding {used!r}"
        message += " and a ratio instead of k" if ratio else ""
        findings.check("settings", holds, message)
