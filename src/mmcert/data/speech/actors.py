"""Splits by actor: nobody who speaks in training is heard in validation or testing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mmcert.data.speech.names import ClipName, clip_name
from mmcert.data.splits import SPLITS, seeded_order
from mmcert.errors import ConfigError, DataError


def actor_parts(
    actors: Collection[int],
    *,
    test: Sequence[int] | None = None,
    validation: Sequence[int] | None = None,
) -> dict[int, str]:
    """Which split each actor belongs to.

    Of the men and of the women, in the order of their numbers, the first two thirds learn, the
    next sixth validates, the last sixth tests: 16, 4 and 4 of RAVDESS' 24, half of them women
    each. Where there are fewer than three of a sex, both are one group.

    Args:
        actors: Numbers of the actors there are.
        test: The actors to test instead; the rule then splits the rest.
        validation: The actors to validate instead; may be empty.

    Returns:
        Actor -> ``train``, ``val`` or ``test``.

    Raises:
        ConfigError: For an actor that is not there or in two splits.

    >>> parts = actor_parts(range(1, 25))
    >>> [[a for a in parts if parts[a] == name] for name in ("val", "test")]
    [[17, 18, 19, 20], [21, 22, 23, 24]]
    """
    chosen: dict[int, str] = {}
    for key, part, given in (
        ("test_actors", "test", test),
        ("validation_actors", "val", validation),
    ):
        for actor in given or ():
            if actor not in actors:
                there = ", ".join(map(str, sorted(actors)))
                raise ConfigError(f"data.options.{key}: no actor {actor!r}; there are {there}.")
            if chosen.setdefault(actor, part) != part:
                raise ConfigError(
                    f"data.options: actor {actor} is among test_actors and validation_actors."
                )
    rest = sorted(set(actors) - set(chosen))
    groups: list[list[int]] = [[a for a in rest if a % 2 == sex] for sex in (1, 0)]
    if min(map(len, groups)) < 3:
        groups = [rest]
    for group in groups:
        held = max(1, round(len(group) / 6)) if len(group) > 1 else 0
        tested = held if test is None else 0
        validated = held if validation is None and len(group) > tested + 1 else 0
        last = len(group) - tested
        for place, actor in enumerate(group):
            if place >= last:
                chosen[actor] = "test"
            elif place >= last - validated:
                chosen[actor] = "val"
            else:
                chosen[actor] = "train"
    return {actor: chosen[actor] for actor in sorted(chosen)}


def split_by_actor(
    ids: Iterable[str],
    *,
    seed: int = 0,
    test: Sequence[int] | None = None,
    validation: Sequence[int] | None = None,
    validation_share: float = 0.0,
) -> dict[str, tuple[str, ...]]:
    """The clips of each split, sorted by id.

    Args:
        ids: Sample ids.
        seed: Chooses the clips of ``validation_share``.
        test: See :func:`actor_parts`.
        validation: See :func:`actor_parts`.
        validation_share: Share of the learning actors' clips that validate too. Their actors are
            heard in training: for few actors, of whom none can be spared.

    Raises:
        ConfigError: See :func:`actor_parts`; or for a share outside [0, 1).
        DataError: For an id that is no clip's.
    """
    if not isinstance(validation_share, int | float) or not 0 <= validation_share < 1:
        raise ConfigError(f"data.options.validation_share={validation_share} must be in [0, 1).")
    names: dict[str, ClipName] = {one: clip_name(one) for one in sorted(set(ids))}
    if not names:
        raise DataError("there are no clips to split.")
    parts = actor_parts({name.actor for name in names.values()}, test=test, validation=validation)
    found = {part: [one for one in names if parts[names[one].actor] == part] for part in SPLITS}
    held = seeded_order(found["train"], seed, "validation clips")
    held = held[: round(validation_share * len(held))]
    found["val"] = sorted({*found["val"], *held})
    found["train"] = [one for one in found["train"] if one not in set(held)]
    return {part: tuple(clips) for part, clips in found.items()}
