"""Run directories compared in tables, figures and one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mmcert.errors import ConfigError
from mmcert.jobs.alone import alone
from mmcert.saying import busy, say


@alone
def report(
    config: Mapping[str, Any], run_dir: str | Path, *, console: Console | None = None
) -> Path:
    """Write the report below ``run_dir`` and say what it says.

    Args:
        config: Plain configuration, the keys of ``conf/report.yaml``.
        run_dir: Where the report goes.
        console: Where a person reads; None: nowhere.

    Returns:
        Path of ``index.html``.

    Raises:
        ConfigError: Where the runs cannot be compared, or a setting makes no sense.
        RecordError: Where a folder is no run directory.
    """
    console, run_dir = console or Console(quiet=True), Path(run_dir)
    logger = config.get("logger") or {"name": "none"}
    if not isinstance(logger, Mapping) or logger.get("name") not in ("none", "wandb"):
        raise ConfigError(
            "logger: mmcert-report knows logger=none and logger=wandb; its numbers are in the "
            "metrics.json of each run."
        )
    if logger["name"] == "wandb":
        from mmcert.reporting.tracking import check_account

        check_account(str(logger.get("mode")))
    runs = config["runs"]
    folders = [runs] if isinstance(runs, str) else runs
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError(
            f"runs={runs}: give a list of run directories, e.g. runs=[a,b], or a pattern, runs=a/*."
        )
    for key in ("ray", "map_budget"):
        if config.get(key) is not None and not isinstance(config[key], dict):
            raise ConfigError(
                f"{key}={config[key]}: give one whole number per modality, "
                f"e.g. {{rgb: 1, depth: 2}}."
            )

    from mmcert.reporting.publish import publish
    from mmcert.reporting.report import build_report
    from mmcert.reporting.terminal import comparison_table, print_report

    made = build_report(
        folders,
        ray=config.get("ray"),
        metric=config.get("metric"),
        allow_differences=bool(config.get("allow_differences")),
    )
    with busy(console, "drawing"):
        index = publish(
            made, run_dir, sample=config.get("sample"), map_budget=config.get("map_budget")
        )
    if logger["name"] == "wandb":
        from mmcert.reporting.tracking import log_report

        log_report(made, run_dir, project=str(logger.get("project")), mode=logger["mode"])
    tables = [
        comparison_table(made.runs, key, [made.metric], made.ray) for key in made.headline_keys
    ]
    print_report(console, tables, made.warnings, made.closing())
    say(console, f"Report: {index}")
    return index
