"""Tasks by name."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from mmcert.errors import ConfigError
from mmcert.tasks.base import AblatedTask
from mmcert.tasks.classification import ClassificationTask
from mmcert.tasks.segmentation import SegmentationTask

TASKS: dict[str, type[AblatedTask]] = {
    "segmentation": SegmentationTask,
    "classification": ClassificationTask,
}
#: What the command injects; the rest are the options of a ``task`` section.
_INJECTED = ("self", "net", "scheme_for", "count_elements", "classes", "seed", "record")


def build_task(
    name: str, net: nn.Module, *, options: dict[str, Any], **injected: Any
) -> AblatedTask:
    """The task of that name around a network.

    Args:
        name: ``segmentation`` or ``classification``.
        net: The base model.
        options: The ``task`` section without its name.
        **injected: See :class:`~mmcert.tasks.base.AblatedTask`.

    Raises:
        ConfigError: For an unknown name or option.
    """
    if name not in TASKS:
        raise ConfigError(f"task.name={name} is no task; choose one of {', '.join(TASKS)}.")
    known = [key for key in inspect.signature(AblatedTask).parameters if key not in _INJECTED]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"task.{unknown[0]} is no option; a task has {', '.join(known)}.")
    return TASKS[name](net, **options, **injected)
