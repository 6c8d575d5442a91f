"""``mmcert-evaluate``: votes become certificates and metrics; no model, no data, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Entry point of the command."""
    run_app("evaluate", job)


def job(config: dict[str, Any], run_dir: Path) -> Any:
    """See :func:`mmcert.jobs.evaluation.evaluate`."""
    from rich.console import Console

    from mmcert.jobs.evaluation import evaluate

    return evaluate(config, run_dir, console=Console())


if __name__ == "__main__":
    main()
