"""A report as one Weights & Biases run: facts, numbers, figures. Nothing is sent unless asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mmcert.errors import ConfigError
from mmcert.reporting.report import Report


def check_account(mode: str) -> None:
    """Refuse to log online without an account, before any work is done.

    Args:
        mode: ``online`` or ``offline``.

    Raises:
        ConfigError: For another mode, or where W&B knows no key of the user's.
    """
    if mode not in ("online", "offline"):
        raise ConfigError(f"logger.mode={mode} must be online or offline.")
    if mode == "offline":
        return
    import wandb

    if not wandb.login(prompt=False):
        raise ConfigError(
            "logger.mode=online needs an account of Weights & Biases, and there is no key of one "
            "here: log in with 'wandb login' or set WANDB_API_KEY; or use logger.mode=offline, and "
            "'wandb sync' later."
        )


def log_report(
    report: Report, out: Path, *, project: str, mode: Literal["online", "offline"]
) -> None:
    """Log a published report.

    Args:
        report: What was published below ``out``.
        out: Folder with ``figures/``; the files of an offline run go to ``out/wandb``.
        project: Project to log to.
        mode: ``online`` (needs an account) or ``offline`` (``wandb sync`` uploads later).
    """
    import wandb

    facts = {
        run.label: {
            "scheme": run.scheme.name,
            "samples": run.samples,
            "n": {m.name: m.n for m in run.scheme.modalities},
            "k": {m.name: m.k for m in run.scheme.modalities},
            "run_dir": str(run.path),
        }
        for run in report.runs
    }
    with wandb.init(
        project=project, mode=mode, dir=str(out), job_type="report", config={"runs": facts}
    ) as tracked:
        columns = ["scheme", "statistics", "claim", "guarantee", "over_budgets", "alpha"]
        for key in report.keys:
            metrics = report.metrics[key]
            table = wandb.Table(
                columns=[*columns, *(f"r_{name}" for name in report.ray.names), *metrics]
            )
            slug = ""
            for run in report.runs:
                result = run.result(key)
                if result is None:
                    continue
                slug = result.slug
                head = [run.label, *key[:3], key[4], result.alpha]
                for budget in result.values:
                    values = [result.value(budget, metric) for metric in metrics]
                    table.add_data(*head, *budget, *values)
            tracked.log({f"certified/{slug}": table})
        for path in sorted((out / "figures").glob("*.png")):
            tracked.log({f"figures/{path.stem}": wandb.Image(str(path))})
        tracked.summary["conclusion"] = report.closing()
