"""``mmcert-train``: an experiment to checkpoints of a base model trained on ablated inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Run the command."""
    run_app("train", job)


def job(config: dict[str, Any], run_dir: Path) -> float:
    """One training; the best validation score is what a search maximises."""
    from hydra.core.hydra_config import HydraConfig

    from mmcert.cli._training import stored_config, train

    hydra = HydraConfig.get()
    named = [override.split("=")[0].lstrip("+") for override in hydra.overrides.task]
    if set(named) <= {"run_dir"}:
        # Nothing but the run directory was named: go on with the configuration that it holds.
        config = stored_config(run_dir) or config
    return train(config, run_dir, multirun=hydra.mode is not None and hydra.mode.name == "MULTIRUN")


if __name__ == "__main__":
    main()
