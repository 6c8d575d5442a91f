"""Base models by name, and those of users by ``package.module:Class``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmcert.errors import ConfigError
from mmcert.models.base import BaseModel
from mmcert.named_code import named_class
from mmcert.sampling.encodings import InputSpec

#: name -> where its class is; imported only when asked for.
MODELS = {
    "rgbd_fusion": "mmcert.models.rgbd_fusion:RGBDFusion",
    "elementwise_fusion": "mmcert.models.elementwise_fusion:ElementwiseFusion",
    "elementwise_sequence": "mmcert.models.elementwise_sequence:ElementwiseSequence",
    "emotion_transformer": "mmcert.models.emotion_transformer:EmotionTransformer",
    "roadseg": "mmcert.models.roadseg:RoadSeg",
}
_COMMON = ("inputs", "classes", "encoding")


def model_class(name: str, allow_code: Sequence[str] = ()) -> type[BaseModel]:
    """The class of a base model.

    Args and errors as in :func:`mmcert.named_code.named_class`.
    """
    # mypy has no word for "abstract classes too"
    return named_class("model.name", name, MODELS, BaseModel, allow_code)  # type: ignore[type-abstract]


def build_model(
    name: str,
    *,
    inputs: Mapping[str, Any],
    classes: int,
    encoding: Mapping[str, Any],
    allow_code: Sequence[str] = (),
    stored_weights: bool = False,
    **options: Any,
) -> BaseModel:
    """A base model with fresh weights.

    Args:
        name: See :func:`model_class`.
        inputs: Per modality its ``InputSpec``, or the plain dictionary of one.
        classes: Number of classes.
        encoding: Per modality ``{"name": ..., ...}``, or one such dictionary for all.
        allow_code: Packages whose code may be imported by name.
        stored_weights: Whether weights of a checkpoint come next: the option ``pretrained`` of a
            model says where a training began, and nothing is fetched for what is replaced.
        **options: The model's own options (``model.options``).

    Raises:
        ConfigError: For an unknown name, option, modality or encoding.
    """
    found = model_class(name, allow_code)
    known = [
        key
        for key, parameter in inspect.signature(found).parameters.items()
        if key not in _COMMON and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"model.options.{unknown[0]} is no option of the model '{name}'; "
            f"it has {', '.join(known) if known else 'none'}."
        )
    if stored_weights and "pretrained" in known:
        options["pretrained"] = False
    return found(
        inputs=input_specs(inputs),
        classes=int(classes),
        encoding=encoding_by_modality(encoding, tuple(inputs)),
        **options,
    )


def input_specs(inputs: Mapping[str, Any]) -> dict[str, InputSpec]:
    """Each modality's ``InputSpec``, from itself or from its plain dictionary.

    >>> plain = {"image": {"shape": [1, 28, 28], "element_axes": [1, 2], "element": "pixel"}}
    >>> input_specs(plain)["image"].count((1, 28, 28))
    784
    """
    return {
        name: spec
        if isinstance(spec, InputSpec)
        else InputSpec(tuple(spec["shape"]), tuple(spec["element_axes"]), str(spec["element"]))
        for name, spec in inputs.items()
    }


def encoding_by_modality(
    encoding: Mapping[str, Any], modalities: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The encoding of each modality.

    Args:
        encoding: ``{"name": ..., **options}`` for all, or ``{modality: {"name": ...}}``; in a mix,
            what names a modality wins there.
        modalities: Their names.

    Raises:
        ConfigError: Where a modality has no encoding.

    >>> encoding_by_modality({"name": "zero", "depth": {"name": "doubling"}}, ["rgb", "depth"])
    {'rgb': {'name': 'zero'}, 'depth': {'name': 'doubling'}}
    """
    common = {key: value for key, value in encoding.items() if not isinstance(value, Mapping)}
    stray = [
        key for key in encoding if isinstance(encoding[key], Mapping) and key not in modalities
    ]
    if stray:
        raise ConfigError(f"encoding.{stray[0]} is no modality; there are {', '.join(modalities)}.")
    result = {name: dict(encoding.get(name) or common) for name in modalities}
    for name, one in result.items():
        if "name" not in one:
            raise ConfigError(f"encoding.{name} is not set; give encoding.{name}.name.")
    return result
