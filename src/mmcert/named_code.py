"""Classes by registry name, and those of users by ``package.module:Class``.

A leaf that every layer may import, like :mod:`mmcert.errors`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mmcert.errors import ConfigError

T = TypeVar("T")


def named_class(
    key: str,
    name: str,
    known: Mapping[str, str],
    base: type[T],
    allow_code: Sequence[str] = (),
) -> type[T]:
    """The class of that name.

    Args:
        key: The configuration key that holds the name, for messages.
        name: A name of ``known``, or ``package.module:Class`` for code of your own.
        known: Name -> address ``package.module:Class``; imported only when asked for.
        base: What the class must be a subclass of.
        allow_code: Packages whose code may be imported by name. A name can come out of a
            checkpoint, and importing code runs it: so the command line must allow the package.

    Raises:
        ConfigError: For an unknown name, a package that is not allowed, or no such class.
    """
    address = known.get(name)
    if address is None:
        if ":" not in name:
            raise ConfigError(
                f"{key}={name} is not known; choose one of {', '.join(sorted(known))}, or name a "
                f"class of your own as package.module:Class."
            )
        package = name.split(":")[0].split(".")[0]
        if package not in allow_code:
            raise ConfigError(
                f"{key}={name} would import code of the package '{package}', which is run by "
                f"doing so. If you trust it, add allow_code=[{package}] to the command line."
            )
        address = name
    module_name, _, class_name = address.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}={name} cannot be imported: {error}. Is its package installed, or on PYTHONPATH?"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key}={name} is no subclass of {base.__module__}.{base.__name__}.")
    return found
