"""``mmcert-certify``: a checkpoint votes on ablated inputs, and its votes become certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app
from mmcert.cli._certify_config import refuse_model_overrides
from mmcert.errors import ConfigError


def main() -> None:
    """Entry point of the command."""
    try:
        refuse_model_overrides(sys.argv[1:])
    except ConfigError as error:
        raise SystemExit(f"certify: {error}") from None
    run_app("certify", certify)


def certify(config: dict[str, Any], run_dir: Path) -> dict[str, Any] | None:
    """Vote, certify, evaluate.

    Args:
        config: Plain configuration of ``certify.yaml`` and the command line.
        run_dir: Where everything goes; what is there of the same run is kept.

    Returns:
        The content of ``metrics.json``; None in all but the first of several processes that were
        started outside.
    """
    from rich.console import Console

    from mmcert.cli._certification import Certification
    from mmcert.voting.processes import started_outside

    outside = started_outside()
    if outside is not None and not any(a.startswith("run_dir=") for a in sys.argv[1:]):
        raise ConfigError(
            "several processes were started outside (srun or torchrun): set run_dir, so that all "
            "of them write to the same place."
        )
    certification = Certification(config, run_dir, Console())
    first = outside is None or outside.global_rank() == 0
    if first:
        certification.describe()
    certification.vote(show=first)
    return certification.evaluate() if first else None


if __name__ == "__main__":
    main()
