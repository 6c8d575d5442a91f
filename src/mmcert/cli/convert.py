"""``mmcert-convert``: a public RoadSeg checkpoint becomes one that ``mmcert-certify`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.cli._app import run_app


def main() -> None:
    """Console entry."""
    run_app("convert", job)


def job(config: dict[str, Any], run_dir: Path) -> None:
    """Convert, and say what to run next."""
    from mmcert.jobs.conversion import convert

    print(convert(config, run_dir))


if __name__ == "__main__":
    main()
