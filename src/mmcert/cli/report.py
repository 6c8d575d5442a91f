"""``mmcert-report``: compare run directories in tables, figures and one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Entry point of the command."""
    run_app("report", job)


def job(config: dict[str, Any], run_dir: Path) -> Any:
    """See :func:`mmcert.jobs.reporting.report`."""
    from rich.console import Console

    from mmcert.jobs.reporting import report

    return report(config, run_dir, console=Console())


if __name__ == "__main__":
    main()
