"""A plain configuration from Hydra's groups, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcert.cli import folders
from mmcert.cli._app import conf_dir
from mmcert.cli.text_keys import as_text, texts_of
from mmcert.errors import ConfigError


def compose(command: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration that a command would run with, as a plain dictionary.

    Args:
        command: Name of the command without ``mmcert-``, e.g. ``train``.
        overrides: What would follow it on the command line, e.g. ``["experiment=avmnist_mmcert"]``.

    Raises:
        ConfigError: For an unknown command or key, or a value that must be set and is not.

    >>> compose("certify", ["checkpoint=runs/training", "voting.draws=100"])["voting"]["draws"]
    100
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.utils import setup_globals
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not (conf_dir() / f"{command}.yaml").is_file():
        raise ConfigError(f"there is no command {command!r}; see {conf_dir()} for their names.")
    setup_globals()  # the resolver of ${now:...}
    folders.register(make=False)
    earlier = GlobalHydra.instance().hydra  # compose inside a job of Hydra must not end it
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name=command):
            config = hydra_compose(command, as_text(overrides))
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{command}: {error}") from None
    finally:
        GlobalHydra.instance().hydra = earlier
    assert isinstance(plain, dict)
    return texts_of({str(key): value for key, value in plain.items()})
