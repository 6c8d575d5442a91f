"""A classifier that encodes every element on its own, of any number of modalities.

Frames, chunks of sound, feature rows, pixels: each modality has an encoder of its elements. In
voting, features are made once per sample, and a draw costs one sum over what it retains and a small
head. In training, only the retained elements are encoded.

With positions (encoding ``retained_indicator``) for modification, or without (``compact``) for
addition, deletion and edits too; then samples may differ in their number of elements.

Letters: ``B`` samples, ``R`` ablated inputs, ``n`` elements of a modality, ``C`` classes, ``D``
features of an element, ``H`` width of the head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcert.errors import ConfigError
from mmcert.models.base import BaseModel, check_finite
from mmcert.models.elements.pooling import RetainedPooling
from mmcert.models.elements.registry import build_encoder
from mmcert.sampling.compact import bags_of, retained_once
from mmcert.sampling.encodings import InputSpec
from mmcert.sampling.subsets import Subset

#: The encodings that this model is: with the places of the retained elements, and without.
PLACED, ORDERED = "retained_indicator", "compact"
#: Elements that go through an encoder together outside of training, always that many: then the
#: features of an element are the same to the last bit, whatever is encoded beside it.
ENCODED_AT_ONCE = 12


def _full_block(x: Tensor) -> Tensor:
    """(M, ...) filled up with zeros to a block."""
    missing = ENCODED_AT_ONCE - len(x)
    return torch.cat((x, x.new_zeros(missing, *x.shape[1:]))) if missing else x


class ElementLayout:
    """How the tensor of a modality becomes a list of elements.

    Args:
        name: The modality, for messages.
        spec: Which axes count elements.
        placed: Whether places count, so that every sample needs the same number of elements.

    Raises:
        ConfigError: Where an element has values of varying number, or ``placed`` and ``n`` varies.
    """

    def __init__(self, name: str, spec: InputSpec, placed: bool) -> None:
        self._axes = tuple(axis + 1 for axis in spec.element_axes)
        self._rest = tuple(a + 1 for a in range(len(spec.shape)) if a + 1 not in self._axes)
        counted = [spec.shape[axis - 1] for axis in self._axes]
        values = [spec.shape[axis - 1] for axis in self._rest]
        if None in values:
            raise ConfigError(
                f"model 'elementwise_sequence' needs elements of one size; those of '{name}' vary "
                f"({spec.element}, {list(spec.shape)})."
            )
        if placed and None in counted:
            raise ConfigError(
                f"model 'elementwise_sequence' has weights per position and needs inputs of one "
                f"size; '{name}' has the shape {list(spec.shape)}. Without positions it takes any "
                f"number of elements: encoding.{name}.name={ORDERED}."
            )
        self.shape = tuple(size for size in values if size is not None) or (1,)
        self.places = math.prod(size or 0 for size in counted) if placed else None

    def __call__(self, x: Tensor) -> Tensor:
        """(B, *shape) to (B, n, *element shape), elements in C order of their axes."""
        moved = x.permute(0, *self._axes, *self._rest)
        return moved.reshape(len(x), -1, *self.shape)


class ElementwiseSequence(BaseModel):
    """Classification from pooled features of retained elements.

    Args:
        inputs: How the modalities are made of elements (``InputSpec``).
        classes: C.
        encoding: Per modality ``{"name": "retained_indicator"}`` (with places) or ``{"name":
            "compact"}`` (retained elements in their order, without places; their average does
            not use the order either).
        modalities: Those that the model reads; None: all that the data has.
        encoders: Per modality the encoder of its elements, ``{"name": ..., **options}``, see
            ``models.elements``; where none is named, the one that fits an element's shape.
        features: D.
        hidden: H.
        heads: Of the attention, a divisor of H.
        dropout: Share of the head's inputs that training drops.
        auxiliary: Whether training gives each modality a head of its own as well.
        pretrained: Whether encoders that ask for weights of others begin with them.

    Raises:
        ConfigError: For an unknown modality, encoder or option, or another encoding.
    """

    default_block = 1000

    def __init__(
        self,
        inputs: Mapping[str, InputSpec],
        classes: int,
        encoding: Mapping[str, Mapping[str, Any]],
        *,
        modalities: Sequence[str] | None = None,
        encoders: Mapping[str, Mapping[str, Any] | None] | None = None,
        features: int = 64,
        hidden: int = 128,
        heads: int = 4,
        dropout: float = 0.1,
        auxiliary: bool = True,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self._modalities = tuple(modalities or inputs)
        for key, named in (("modalities", self._modalities), ("encoders", tuple(encoders or ()))):
            unknown = [name for name in named if name not in inputs]
            if unknown:
                raise ConfigError(
                    f"model.options.{key} names '{unknown[0]}'; the data has {', '.join(inputs)}."
                )
        if hidden % heads:
            raise ConfigError(
                f"model.options.heads={heads} must divide model.options.hidden={hidden}."
            )
        self._layouts: dict[str, ElementLayout] = {}
        self.encoders, self.pools = nn.ModuleDict(), nn.ModuleDict()
        for name in self._modalities:
            shown = encoding[name]["name"]
            if shown not in (PLACED, ORDERED):
                raise ConfigError(
                    f"model 'elementwise_sequence' knows which elements are retained; set "
                    f"encoding.{name}.name={PLACED} (with their positions) or {ORDERED} (without), "
                    f"not {shown}."
                )
            layout = ElementLayout(name, inputs[name], shown == PLACED)
            self._layouts[name] = layout
            self.encoders[name] = build_encoder(
                name,
                (encoders or {}).get(name),
                shape=layout.shape,
                places=layout.places,
                features=features,
                stored_weights=not pretrained,
            )
            self.pools[name] = RetainedPooling(features, hidden, heads)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, classes)
        self.auxiliary = nn.ModuleDict(
            {name: nn.Linear(hidden, classes) for name in self._modalities} if auxiliary else {}
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model reads."""
        return self._modalities

    def logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits of ablated inputs; see :class:`BaseModel`."""
        return self.head(self._pooled(inputs, masks))

    def forward(
        self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """The logits; in training also those of each modality alone, (R, C) each."""
        pooled = self._pooled(inputs, masks)
        logits = self.head(pooled)
        if not self.training or not self.auxiliary:
            return logits
        return logits, [
            self.auxiliary[name](F.relu(x))
            for name, x in zip(self._modalities, pooled, strict=True)
        ]

    def _pooled(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        """What each modality's retained elements give, (R, H); each is encoded once."""
        pooled = []
        for name in self._modalities:
            elements = self._layouts[name](inputs[name])  # (B, n, *element)
            once = retained_once(masks[name], len(elements))
            chosen = elements[once.samples, once.places]
            pooled.append(self.pools[name](self.table(name, chosen, once.places), once.bags))
        return pooled

    def table(self, name: str, elements: Tensor, places: Tensor) -> Tensor:
        """What elements (U, *element) at those places contribute, a row each."""
        placed = self._layouts[name].places is not None

        def contributed(block: Tensor, at: Tensor) -> Tensor:
            return self.contributions(name, self.encoders[name](block, at if placed else None))

        if self.training and len(elements):
            return contributed(elements, places)
        rows = []
        for first in range(0, max(1, len(elements)), ENCODED_AT_ONCE):
            block, at = (x[first : first + ENCODED_AT_ONCE] for x in (elements, places))
            rows.append(contributed(_full_block(block), _full_block(at))[: len(block)])
        return torch.cat(rows)

    def contributions(self, name: str, features: Tensor) -> Tensor:
        """Features (U, D) of a modality's elements to what they contribute (U, 2 H + heads)."""
        pool = self.pools[name]
        assert isinstance(pool, RetainedPooling)
        return pool.table(features)

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """What every element of one sample contributes, (n, 2 H + heads) per modality.

        Raises:
            DataError: Where a modality is missing.
        """
        tables = {}
        for name, x in self._on_device(sample).items():
            elements = self._layouts[name](x)[0]
            places = torch.arange(len(elements), device=x.device)
            tables[name] = self.table(name, elements, places)
        return {"id": sample["id"], "tables": tables}

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> Tensor:
        """The labels of ``B`` draws of one sample, int64 (B,).

        Raises:
            NonFiniteLogitsError: Naming the sample.
        """
        tables = state["tables"]
        logits = self.head(
            [self.pools[name](tables[name], bags_of(subsets[name])) for name in self._modalities]
        )
        check_finite(logits, state["id"])
        return logits.argmax(1)

    def head(self, pooled: Sequence[Tensor]) -> Tensor:
        """What the modalities give, (R, H) each, to logits (R, C)."""
        x = self.dropout(F.relu(torch.stack(list(pooled)).sum(0) + self.bias))
        x = x + F.relu(self.second(x))
        return self.last(x)
