"""``mmcert-verify``: every certificate of a run directory derived again from its votes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from mmcert.cli.explain import explained
from mmcert.cli.surroundings import settle

DESCRIPTION = """\
Derive every certificate and every figure of run directories again from their votes, by a separate
implementation in plain Python integers, fractions and directed decimals. Nothing is changed.
"""
EPILOG = """\
exit code: 0 if all that was checked holds, 1 if anything does not, 2 for a wrong command line.
A warning means that less is claimed than the votes allow, which makes no claim wrong.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code."""
    settle()
    parser = argparse.ArgumentParser(
        prog="mmcert-verify",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run directory of mmcert-certify or mmcert-evaluate",
    )
    runs = parser.parse_args(arguments).runs

    from mmcert.certification.verifier.verify import verify

    broken = 0
    for run_dir in runs:
        began = time.perf_counter()
        try:
            findings = verify(run_dir)
        except OSError as error:
            reason = explained(error)
            if reason is None:
                raise
            print(f"verify: {reason}", file=sys.stderr)
            return 1
        print(run_dir)
        print("\n".join(findings.lines()))
        verdict = "all that was checked holds" if findings.all_hold else "DOES NOT HOLD"
        print(f"  {verdict} ({time.perf_counter() - began:.1f} s)")
        broken += not findings.all_hold
    if len(runs) > 1:
        print(f"{len(runs) - broken} of {len(runs)} runs hold")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
