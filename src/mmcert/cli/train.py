"""``mmcert-train``: an experiment to checkpoints of a base model trained on ablated inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import one_run_dir, run_app


def main() -> None:
    """Run the command."""
    run_app("train", job)


def job(config: dict[str, Any], run_dir: Path) -> float:
    """One training; the best validation score is what a search maximises.

    Raises:
        ConfigError: Where several processes would each write to a folder of its own.
    """
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from mmcert.jobs.training.resume import MAY_DIFFER, stored_config
    from mmcert.jobs.training.training import train

    one_run_dir()
    hydra = HydraConfig.get()
    named = {override.split("=")[0].lstrip("+") for override in hydra.overrides.task}
    stored = stored_config(run_dir) if named <= {"run_dir", *MAY_DIFFER} else None
    if stored is not None:
        # Nothing that makes a training was named: go on with the one that the run directory holds.
        for key in named & set(MAY_DIFFER):
            section, name = key.split(".")
            stored[section][name] = config[section][name]
        config = stored
    return train(config, run_dir, console=Console())


if __name__ == "__main__":
    main()
