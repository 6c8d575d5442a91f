"""``mmcert-certify``: a checkpoint votes on ablated inputs, and its votes become certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmcert.cli._app import one_run_dir, run_app
from mmcert.errors import ConfigError
from mmcert.jobs.certify_config import refuse_model_overrides


def main() -> None:
    """Entry point of the command."""
    try:
        refuse_model_overrides(sys.argv[1:])
    except ConfigError as error:
        raise SystemExit(f"certify: {error}") from None
    run_app("certify", job)


def job(config: dict[str, Any], run_dir: Path) -> dict[str, Any] | None:
    """See :func:`mmcert.jobs.certification.certify`.

    Raises:
        ConfigError: Where several processes would each write to a folder of its own.
    """
    from rich.console import Console

    from mmcert.jobs.certification import certify

    one_run_dir()
    return certify(config, run_dir, console=Console())


if __name__ == "__main__":
    main()
