"""A run directory from end to end: every certificate and every figure derived again."""

from __future__ import annotations

from pathlib import Path

from mmcert.certification.verifier.certificates import check_certificates
from mmcert.certification.verifier.enumeration import check_enumeration
from mmcert.certification.verifier.findings import CheckError, Findings
from mmcert.certification.verifier.maps import check_maps
from mmcert.certification.verifier.metrics import case_of, check_metrics, check_thresholds
from mmcert.certification.verifier.provenance import (
    alpha_of,
    check_checkpoint,
    check_document,
    check_encoding,
    check_hashes,
    check_run,
    check_samples,
    read_config,
    shard_of,
    source_config,
    votes_folders,
)
from mmcert.certification.verifier.tally import Tally, tally
from mmcert.certification.verifier.votes import VotesFolders, read_json


def verify(run_dir: str | Path) -> Findings:
    """Check a run directory; nothing in it is changed.

    Args:
        run_dir: What ``mmcert-certify`` or ``mmcert-evaluate`` wrote.

    Returns:
        What holds, what does not, and what could not be checked.
    """
    findings = Findings()
    try:
        _verify(Path(run_dir), findings)
    except CheckError as error:  # without it nothing further can be derived
        findings.fail("files", str(error))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        findings.fail("files", f"{run_dir}: not of the form that is written ({error!r})")
    return findings


def _verify(run_dir: Path, findings: Findings) -> None:
    run = read_json(run_dir / "run.json")
    document = read_json(run_dir / "metrics.json")
    config = read_config(run_dir / "config.yaml")
    folders = votes_folders(run_dir, run)
    votes = VotesFolders(folders)
    findings.hold("files", 3)
    check_hashes(run, votes, findings)
    check_checkpoint(run, findings)
    check_run(run, votes, findings)
    tallies = _count(votes, findings)
    check_document(document, votes.meta, len(votes.ids), findings)
    case = case_of(document, votes.meta, tallies)
    source = config if "encoding" in config else source_config(folders[0])
    facts = run.get("fingerprint_of") or {} if len(folders) == 1 else {}
    check_samples(facts, source, case, findings)
    check_encoding(source, case, findings)
    if votes.meta.voting == "exhaustive" and shard_of(run) is None:
        check_enumeration(case, findings)
    elif votes.meta.voting == "exhaustive":
        findings.skip("hash of the enumeration (this is a shard of the samples)")
    check_thresholds(document, case, findings)
    alpha = alpha_of(config)
    if alpha is None:
        findings.skip("alpha that was asked for (config.yaml does not say it)")
    entries = check_metrics(document, case, alpha, findings)
    target = document.get("target")
    check_certificates(run_dir / "certificates.parquet", case, entries, target, findings)
    check_maps(run_dir / "maps", document, case, entries, votes, findings)


def _count(votes: VotesFolders, findings: Findings) -> list[Tally]:
    """Read and count every sample; one that is broken is named and left out."""
    tallies = []
    for sample_id in votes.ids:
        try:
            tallies.append(tally(votes.read(sample_id), votes.meta))
            findings.hold("votes")
        except CheckError as error:
            findings.fail("votes", str(error))
    if not tallies:
        raise CheckError("no sample's votes can be read")
    return tallies
