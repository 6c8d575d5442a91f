"""Encoders of elements by name, and the one that fits where none is named."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmcert.errors import ConfigError
from mmcert.models.elements.base import ElementEncoder
from mmcert.models.elements.digits import Pixel, Spectrum
from mmcert.models.elements.frames import FrameCNN, TimmFrames
from mmcert.models.elements.sound import FeatureRow, LogMel

ENCODERS: dict[str, type[ElementEncoder]] = {
    "frame_cnn": FrameCNN,
    "timm": TimmFrames,
    "log_mel": LogMel,
    "feature_row": FeatureRow,
    "pixel": Pixel,
    "spectrum": Spectrum,
}
_COMMON = ("self", "shape", "places", "features")
#: Elements of at most so many values in one row are pixels; of more, up to the next, features.
_PIXEL_VALUES, _ROW_VALUES = 4, 64


def fitting_encoder(shape: tuple[int, ...]) -> str:
    """The encoder for elements of that shape, where the configuration names none.

    >>> [fitting_encoder(shape) for shape in ((3, 64, 64), (1,), (10,), (735,))]
    ['frame_cnn', 'pixel', 'feature_row', 'log_mel']
    """
    if len(shape) == 3:
        return "frame_cnn"
    if len(shape) != 1:
        return "feature_row"
    if shape[0] <= _PIXEL_VALUES:
        return "pixel"
    return "feature_row" if shape[0] <= _ROW_VALUES else "log_mel"


def build_encoder(
    modality: str,
    config: Mapping[str, Any] | None,
    *,
    shape: tuple[int, ...],
    places: int | None,
    features: int,
    stored_weights: bool,
) -> ElementEncoder:
    """The encoder of one modality.

    Args:
        modality: Its name, for messages.
        config: ``{"name": ..., **options}`` or None.
        shape: Of one element.
        places: Elements of a sample, or None where features must not depend on the place.
        features: D.
        stored_weights: Whether weights of a checkpoint replace whatever it begins with.

    Raises:
        ConfigError: For an unknown name or option, or elements that do not fit.
    """
    options = dict(config or {})
    name = options.pop("name", None) or fitting_encoder(shape)
    key = f"model.options.encoders.{modality}"
    if name not in ENCODERS:
        raise ConfigError(f"{key}.name={name} is no encoder; choose one of {', '.join(ENCODERS)}.")
    known = [
        option
        for option in inspect.signature(ENCODERS[name].__init__).parameters
        if option not in _COMMON
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"{key}.{unknown[0]} is no option of the encoder '{name}'; it has "
            f"{', '.join(known) if known else 'none'}."
        )
    if stored_weights and "pretrained" in known:
        options["pretrained"] = False
    return ENCODERS[name](shape, places, features, **options)
