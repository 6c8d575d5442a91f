"""``mmcert-plan``: what can be certified at all, the draws it takes, the best split of k."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Entry point of the command."""
    run_app("plan", job)


def job(config: dict[str, Any], run_dir: Path) -> Any:
    """See :func:`mmcert.jobs.planning.plan`."""
    from rich.console import Console

    from mmcert.jobs.planning import plan

    return plan(config, run_dir, console=Console())


if __name__ == "__main__":
    main()
