"""Which encoding of a sub-sample is sound against which threat (method, section 1).

The certificate counts sub-samples that an attack leaves in common. It holds only if equal
sub-samples give the base model equal inputs:

- **modification** keeps every element in its place, so an input may depend on the position and the
  value of each retained element, and on nothing else;
- **addition, deletion, edits** shift positions and change how many elements there are, so an input
  may depend on the retained values in their order, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmcert.errors import ConfigError, UnsoundError
from mmcert.theory.attacks import ThreatKind, threat_kind

#: Encodings by (position, value) of the retained elements; the text is what fills the rest.
POSITION_ENCODINGS: Mapping[str, str] = {
    "zero": "ablated elements are 0",
    "constant_mean": "ablated elements are a constant fixed before any input is seen, such as the "
    "mean of the training set",
    "retained_indicator": "ablated elements are 0 and an extra channel says which are retained",
    "doubling": "each channel x becomes (x, 1 - x), and both are 0 where ablated",
    "interpolation": "ablated elements are interpolated from the retained ones",
    "ground_height": "height above the plane that is fitted to the retained depth pixels, "
    "interpolated from them",
}

#: Encodings by the retained values in their order.
ORDER_ENCODINGS: Mapping[str, str] = {
    "compact": "the retained elements are joined in their order, without their positions",
}

#: Encodings in use elsewhere that are sound against nothing, with the reason.
UNSOUND_ENCODINGS: Mapping[str, str] = {
    "input_mean": "the mean of the input itself depends on elements that the draw does not retain, "
    "so one attacked element changes every sub-sample; use constant_mean",
}


def check_encoding(
    encodings: Mapping[str, str],
    kinds: Mapping[str, str] | str,
    scheme_uses_ratio: bool,
) -> None:
    """Refuse every pair of encoding and threat kind that gives no certificate.

    Args:
        encodings: Encoding name per modality.
        kinds: Threat kind per modality (modification where none is named), or one for all.
        scheme_uses_ratio: Whether ``k`` is a ratio of ``n`` instead of a constant.

    Raises:
        ConfigError: For an unknown encoding or threat kind, or a kind for an unknown modality.
        UnsoundError: For an unsound pair, with the modality and the reason.

    >>> check_encoding({"video": "compact", "audio": "zero"}, {"video": "deletion"}, False)
    """
    if not isinstance(kinds, str):
        unknown = sorted(set(kinds) - set(encodings))
        if unknown:
            raise ConfigError(
                f"threat.kind names {unknown}, the modalities are {sorted(encodings)}."
            )
    for modality, encoding in encodings.items():
        kind = threat_kind(
            kinds if isinstance(kinds, str) else kinds.get(modality, ThreatKind.MODIFICATION)
        )
        if encoding in UNSOUND_ENCODINGS:
            raise UnsoundError(
                f"encoding '{encoding}' of modality '{modality}' is sound against no threat: "
                f"{UNSOUND_ENCODINGS[encoding]}."
            )
        if encoding not in POSITION_ENCODINGS and encoding not in ORDER_ENCODINGS:
            known = ", ".join([*POSITION_ENCODINGS, *ORDER_ENCODINGS])
            raise ConfigError(
                f"unknown encoding '{encoding}' of modality '{modality}'; choose one of {known}."
            )
        if kind is ThreatKind.MODIFICATION:
            continue
        if encoding in POSITION_ENCODINGS:
            raise UnsoundError(
                f"encoding '{encoding}' of modality '{modality}' is not sound against {kind}: it "
                f"shows the base model the position of each retained element, and one element "
                f"added or deleted shifts the positions of all later ones, so that no sub-sample "
                f"would be common; set encoding.{modality}.name=compact or "
                f"threat.kind=modification."
            )
        if scheme_uses_ratio:
            raise UnsoundError(
                f"scheme.ratio is not sound against {kind} of modality '{modality}': the number "
                f"of retained elements would change with the attack and no sub-sample would be "
                f"common; set the same count for every sample with scheme.k."
            )
