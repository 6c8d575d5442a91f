"""The default run directory: named by the second, made by one command alone."""

from __future__ import annotations

import itertools
from pathlib import Path

from mmcert.errors import ConfigError


def register(*, make: bool) -> None:
    """Teach OmegaConf ``${new_folder:PATH}``, the value of ``run_dir`` in ``conf/base.yaml``.

    It is asked for once by a command (the answer is kept, for all jobs of a sweep too), and not at
    all where ``run_dir=`` is given.

    Args:
        make: Whether to make the folder; otherwise ``PATH`` is just named, for who only composes a
            configuration.
    """
    from omegaconf import OmegaConf

    function = new_folder if make else str
    OmegaConf.register_new_resolver("new_folder", function, use_cache=True, replace=True)


def new_folder(path: str) -> str:
    """Make ``path``, or ``path_2``, ``path_3``, ... where another command was there first.

    Raises:
        ConfigError: Where no folder can be made there.
    """
    for number in itertools.count(1):
        folder = Path(path if number == 1 else f"{path}_{number}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not folder.parent.is_dir():
                raise ConfigError(
                    f"{folder.parent}: a file is in the way; choose another run_dir=, or "
                    f"paths.outputs=."
                ) from None
        except OSError as error:
            raise ConfigError(
                f"{folder}: {error.strerror}; choose another run_dir=, or paths.outputs=, in a "
                f"folder that can be written to."
            ) from error
        else:
            return str(folder)
    raise AssertionError
