"""What every Hydra command shares: configuration folder, plain config, errors for people."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import mmcert
from mmcert.cli import folders
from mmcert.cli.explain import explained, unforeseen
from mmcert.cli.surroundings import settle
from mmcert.cli.text_keys import as_text, texts_of
from mmcert.errors import ConfigError, FullDiskError, MmcertError
from mmcert.full_disk import full_disk
from mmcert.jobs.interruption import exit_status, interruptible, requeue
from mmcert.jobs.seed import check_seed
from mmcert.quoting import hydra_text, override, shell_line

Job = Callable[[dict[str, Any], Path], Any]


def conf_dir() -> Path:
    """The folder of the configuration groups: in the installed wheel, else in the repository.

    Raises:
        ConfigError: Naming both places, where neither is there.
    """
    package = Path(mmcert.__file__).resolve().parent
    places = (package / "conf", package.parents[1] / "conf")
    for place in places:
        if (place / "base.yaml").is_file():
            return place
    raise ConfigError(
        f"the configuration folder is neither at {places[0]} nor at {places[1]}; "
        f"reinstall mmcert (pip install --force-reinstall mmcert)."
    )


#: What was typed, while Hydra reads it with texts quoted.
_typed: list[str] | None = None


def resume_line(run_dir: Path | None = None) -> str:
    """The command line that was typed, ready to be pasted again.

    Args:
        run_dir: Named in the line where it was not.
    """
    program = Path(sys.argv[0])
    # python -m mmcert.cli.certify knows itself as .../certify.py
    name = f"mmcert-{program.stem}" if program.suffix == ".py" else program.name
    typed = sys.argv[1:] if _typed is None else _typed
    if run_dir is not None and not any(word.startswith("run_dir=") for word in typed):
        typed = [*typed, override("run_dir", run_dir)]
    return shell_line([name, *typed])


@contextlib.contextmanager
def _texts_quoted() -> Iterator[None]:
    """Let Hydra read the values of text keys as text, see :mod:`mmcert.cli.text_keys`."""
    global _typed
    before = sys.argv
    _typed = before[1:]
    sys.argv = [before[0], *as_text(before[1:])]
    try:
        yield
    finally:
        sys.argv, _typed = before, None


def one_run_dir() -> None:
    """Refuse processes of one job that would each make a folder of its own, named by the time.

    Raises:
        ConfigError: Where they were started outside and ``run_dir`` is not given.
    """
    from hydra.core.hydra_config import HydraConfig

    from mmcert.voting.started import started_outside

    outside = started_outside()
    if outside is None or "SUBMITIT_EXECUTOR" in os.environ:  # which hands one folder to all
        return
    if not any(override.startswith("run_dir=") for override in HydraConfig.get().overrides.task):
        raise ConfigError(
            f"{outside.starter} has started {outside.world} processes: set run_dir=, so that all "
            f"of them write to the same place."
        )


def with_multirun(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the switch of a sweep where a launcher of jobs is named.

    Hydra asks no launcher but in a sweep: without the switch the job would run here.

    >>> with_multirun(["hydra/launcher=submitit_slurm", "seed=0"])
    ['--multirun', 'hydra/launcher=submitit_slurm', 'seed=0']
    """
    named = [a.partition("=")[2] for a in arguments if a.startswith("hydra/launcher=")]
    switches = {"-m", "--multirun", "-r", "--run", "-c", "--cfg", "--help", "-h", "--info", "-i"}
    if named in ([], ["basic"]) or switches & set(arguments):
        return list(arguments)
    return ["--multirun", *arguments]


def run_app(config_name: str, job: Job) -> None:
    """Compose ``config_name`` with the command line and run ``job(config, run_dir)``.

    ``job`` gets a plain, fully resolved dictionary and the run directory of this job. A
    :class:`MmcertError` is printed as its message alone and makes the exit status non-zero, in
    sweeps too; an interruption prints the line that resumes the command.
    """
    settle()
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import CompactHydraException, HydraException, OverrideParseException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    begun: list[Path] = []
    folders.register(make="--resolve" not in sys.argv)  # --cfg job --resolve only shows

    def fail(message: str) -> NoReturn:
        message = f"{config_name}: {message}"
        if HydraConfig.get().mode == RunMode.RUN:
            _leave(message)
        # A sweep runs its other jobs first, and then fails with this.
        raise CompactHydraException(message) from None

    def goes_on() -> str:
        line = resume_line(begun[-1] if HydraConfig.get().mode == RunMode.RUN else None)
        return f"To go on where it stopped:\n  {line}"

    def task(config: DictConfig) -> Any:
        run_dir = Path(HydraConfig.get().runtime.output_dir).resolve()
        begun.append(run_dir)
        try:
            config.run_dir = str(run_dir)  # with hydra.run.dir= its default would make another
            plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            assert isinstance(plain, dict)
            check_seed(plain.get("seed"))
            with interruptible(), _full_disk_told():
                return job(texts_of({str(key): value for key, value in plain.items()}), run_dir)
        except (MmcertError, OmegaConfBaseException) as error:
            with contextlib.suppress(OSError):  # Hydra made the folder; leave none behind if empty
                run_dir.rmdir()
            if isinstance(error, MissingMandatoryValue) and error.full_key:
                error = ConfigError(
                    f"set {error.full_key}=; mmcert-{config_name} --help shows how."
                )
            fail(f"{error}\n{goes_on()}" if isinstance(error, FullDiskError) else str(error))
        except KeyboardInterrupt as error:
            if "SUBMITIT_EXECUTOR" not in os.environ:  # where nobody typed a line
                print(f"\nInterrupted. {goes_on()}", file=sys.stderr)
            requeue(error, lambda line: print(line, file=sys.stderr, flush=True))
            raise SystemExit(exit_status(error)) from None
        except Exception as error:
            if wants_tracebacks:
                raise
            reason = explained(error, run_dir)
            if reason is None:
                traceback.print_exc()
                fail(unforeseen())
            fail(f"{reason} {goes_on()}")

    sys.argv[1:] = with_multirun(sys.argv[1:])
    # Ours explain every key of the launchers; the plugin's own ones of that name check them.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_\w+' is validated against")
    command = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    # Hydra prints tracebacks of what it cannot explain; with its full errors we can explain them.
    wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with _texts_quoted():
            command(task)()
    except OverrideParseException as error:
        _leave(f"{config_name}: {error}{_quoted_form(error.override)}")
    except (HydraException, OmegaConfBaseException) as error:
        if wants_tracebacks:
            raise
        # OmegaConf puts words of its own around what ${new_folder:...} could not make.
        said = str(error).partition("ConfigError raised while resolving interpolation: ")[2]
        message = said.splitlines()[0] if said else str(error)
        _leave(message if message.startswith(config_name) else f"{config_name}: {message}")
    except OSError as error:
        reason = None if wants_tracebacks or begun else explained(error)
        if reason is None:
            raise  # not Hydra making the folder
        _leave(f"{config_name}: {reason} This was to be the run_dir: choose another run_dir=.")
    finally:
        if not wants_tracebacks:
            del os.environ["HYDRA_FULL_ERROR"]


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    """Turn what libraries raise when their own files do not fit (a log, a cache) into our error."""
    try:
        yield
    except MmcertError:
        raise
    except Exception as error:
        full = full_disk(error)
        if full is not None:
            raise full from error
        raise


def _quoted_form(typed: str) -> str:
    """A hint for an override that is not in Hydra's grammar, with the form that is."""
    key, equals, value = typed.partition("=")
    if not equals:
        return "\nAn override has the form key=value."
    shown = shell_line([f"{key}={hydra_text(value)}"])
    return f"\nIf the value is text, quote it for Hydra and then for the shell:\n  {shown}"


def _leave(message: str) -> NoReturn:
    """End the command with a message for the user."""
    print(message, file=sys.stderr)
    raise SystemExit(1) from None
