"""``mmcert-prepare``: raw downloads and synthetic worlds -> the folder that a data set reads."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Entry point of the command."""
    run_app("prepare", job)


def job(config: dict[str, Any], run_dir: Path) -> None:
    """Make or check the folder ``config["out"]`` and say what to do next."""
    from mmcert.jobs.preparation import prepare

    with contextlib.suppress(OSError):  # results go to out; Hydra's own folder stays empty
        run_dir.rmdir()
        run_dir.parent.rmdir()
    print(prepare(config))


if __name__ == "__main__":
    main()
