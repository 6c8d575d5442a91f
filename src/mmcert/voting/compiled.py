"""``voting.compile``: a base model whose labels are computed by compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mmcert.errors import MmcertError
from mmcert.sampling.subsets import Subset
from mmcert.voting.protocol import BaseModel

#: Shapes that are compiled before torch would silently fall back to the plain code.
_SHAPES = 1 << 16


class Compiled:
    """A base model behind ``torch.compile``; it rounds otherwise than the plain one.

    Every shape is compiled for itself (``dynamic=False``) and without a limit on their number, so
    that the arithmetic of a sample does not depend on which samples its process saw before.

    Args:
        model: In eval mode and on its device.
    """

    def __init__(self, model: BaseModel) -> None:
        import torch._dynamo.config as dynamo

        dynamo.cache_size_limit = dynamo.accumulated_cache_size_limit = _SHAPES
        self._model = model
        self._label = torch.compile(model.label, dynamic=False)

    @property
    def default_block(self) -> int:
        """As the plain model."""
        return self._model.default_block

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """As the plain model, which computes it once per sample."""
        return self._model.prepare(sample)

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> torch.Tensor:
        """The labels of ``B`` draws.

        Raises:
            MmcertError: Where nothing can be compiled on this machine.
        """
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._label(state, subsets)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise MmcertError(
                f"voting.compile=true: the base model cannot be compiled ({reason}). A CPU needs "
                f"a C++ compiler, a GPU needs Triton; set voting.compile=false in another run_dir."
            ) from error
