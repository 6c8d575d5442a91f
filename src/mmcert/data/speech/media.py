"""The libraries that read sound and picture, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from mmcert.errors import ConfigError

#: Module -> the name of its distribution, as the extra ``video`` lists it.
_DISTRIBUTIONS = {"av": "av", "cv2": "opencv-python-headless", "soxr": "soxr"}


def media_library(module: str) -> Any:
    """``av``, ``cv2`` or ``soxr``.

    Raises:
        ConfigError: Where it is not installed, naming the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"raw clips are read with {_DISTRIBUTIONS[module]}, which cannot be imported "
            f"({error}). Install the extra that brings it: pip install 'mmcert[video]'"
        ) from error
