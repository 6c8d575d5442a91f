"""Folders that are made whole or not at all: resumable work beside them, then one rename.

While it is being made, ``OUT`` is ``OUT.partial``; a file there is complete as soon as it has its
name. At the end a manifest with checksums is written, and the folder gets its own name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcert
from mmcert.errors import DataError
from mmcert.full_disk import full_disk
from mmcert.saying import Pace, animated, duration, say

MANIFEST = "manifest.json"
SCHEMA = 1
_SETTINGS = "settings.json"
_UNFINISHED = ".unfinished-"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to; the file appears under ``path`` when the block ends without error.

    Raises:
        FullDiskError: Where the disk is full; the old file is there, the new one is removed.
    """
    temporary = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        temporary.unlink(missing_ok=True)  # first, so that the room it took counts as free
        full = full_disk(error, path)
        if full is not None:
            raise full from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared folder, or None where it has none.

    Raises:
        DataError: Where it cannot be read or is of another schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig"))
        schema = manifest["schema"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: the manifest cannot be read ({error!r}).") from error
    if schema != SCHEMA:
        raise DataError(f"{path}: manifest schema {schema}; this version of mmcert reads {SCHEMA}.")
    return dict(manifest)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_files(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files that are missing, or others than when the manifest was written, as problems."""
    files = manifest.get("files", {})
    if not isinstance(files, Mapping):
        return [f"{root / MANIFEST}: 'files' must be {{name: SHA-256}}; prepare the data anew."]
    problems = []
    for name, checksum in files.items():
        path = root / name
        if not path.is_file():
            problems.append(f"{path}: missing, but {MANIFEST} lists it.")
        elif sha256(path) != checksum:
            problems.append(f"{path}: changed since {MANIFEST} was written (another checksum).")
    return problems


class Workspace:
    """The folder that is being prepared.

    Args:
        out: Where the folder will be.
        settings: Plain values that decide every byte of it. Work is resumed, and a finished folder
            is recognised, where they agree.

    Attributes:
        done: Whether ``out`` is there already, made with the same settings.
        folder: Where to write meanwhile.

    Raises:
        DataError: Where ``out`` or the unfinished folder holds something else.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        self.settings = json.loads(json.dumps(settings))
        if out.name in ("", ".."):
            raise DataError(f"out={out} must name a folder to make; this one is there already.")
        self.folder = out.with_name(out.name + ".partial")
        self.done = self._is_done()
        if not self.done:
            self._open()

    def _is_done(self) -> bool:
        if self.out.exists() and not self.out.is_dir():
            raise DataError(f"{self.out}: a file is in the way; choose another out=.")
        if not self.out.is_dir() or not any(self.out.iterdir()):
            return False
        manifest = read_manifest(self.out)
        if manifest is None:
            raise DataError(
                f"{self.out}: the folder holds something else and is left as it is; choose another "
                f"out=, or move it away."
            )
        if manifest.get("settings") != self.settings:
            raise DataError(
                f"{self.out}: already prepared with other settings "
                f"({_differences(manifest.get('settings') or {}, self.settings)}) and left as it "
                f"is; choose another out=, or move it away."
            )
        return True

    def _open(self) -> None:
        path = self.folder / _SETTINGS
        if path.is_file():
            try:
                before = json.loads(path.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{path}: cannot be read ({error}); delete {self.folder}."
                ) from error
            if before != self.settings:
                raise DataError(
                    f"{self.folder}: unfinished work with other settings "
                    f"({_differences(before, self.settings)}). Finish it with those, or "
                    f"delete that folder."
                )
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise DataError(f"{self.folder}: the folder holds something else; move it away.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be made ({error}).") from error
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(self.settings, indent=1) + "\n", encoding="utf-8")

    def finish(self, split: Mapping[str, Any], **more: Any) -> None:
        """Write the manifest and give the folder its name.

        Args:
            split: ``{"seed", "train", "val", "test"}``, the latter lists of sample ids.
            **more: Further plain values for the manifest.
        """
        for left in self.folder.rglob(f"{_UNFINISHED}*"):
            left.unlink()
        (self.folder / _SETTINGS).unlink(missing_ok=True)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        manifest = {
            "schema": SCHEMA,
            "dataset": self.settings["dataset"],
            "made_with": {"mmcert": mmcert.__version__},
            "settings": self.settings,
            **more,
            "split": dict(split),
            "files": {path.relative_to(self.folder).as_posix(): sha256(path) for path in files},
        }
        with whole_file(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if self.out.is_dir():
            self.out.rmdir()  # an empty folder of that name is no obstacle
        os.rename(self.folder, self.out)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(f"{key}: {before.get(key)} there, {now.get(key)} asked for" for key in keys)


def run_tasks(
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    *,
    workers: int | None,
    unit: str,
) -> list[Any]:
    """``[function(*task) for task in tasks]`` in processes, with the cost before and a bar during.

    Args:
        function: Importable by name: the processes are spawned.
        tasks: Its arguments.
        workers: Processes; None: as many as there are cores for this process.
        unit: What a task makes, in the plural.

    Returns:
        The results in the order of the tasks. An error in one task ends the others.

    Raises:
        DataError: Where the system killed a process.
    """
    import time
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    if not tasks:
        return []
    # The cores of this process, where the system tells (Linux), not those of the machine.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(workers or cores or 1, len(tasks))
    console = Console(stderr=True)
    began = time.perf_counter()
    results: dict[int, Any] = {0: function(*tasks[0])}
    each = time.perf_counter() - began
    expected = each * (len(tasks) - 1) / processes
    if len(tasks) == 1:
        return [results[0]]
    say(
        console,
        f"{len(tasks)} {unit} at {each:.2g} s in {processes} processes: "
        f"about {duration(expected)}.",
    )
    pace = Pace(console, "preparing", unit, len(tasks))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not animated(console)) as progress:
        bar = progress.add_task(unit, total=len(tasks), completed=1, rate="")

        def advance() -> None:
            rate = (len(results) - 1) / max(time.perf_counter() - began - each, 1e-9)
            progress.update(bar, completed=len(results), rate=f"{rate:.1f}/s")
            pace(len(results))

        if processes == 1:
            for index, task in enumerate(tasks[1:], start=1):
                results[index] = function(*task)
                advance()
        else:
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
                futures = {
                    pool.submit(function, *task): index
                    for index, task in enumerate(tasks[1:], start=1)
                }
                try:
                    for future in as_completed(futures):
                        results[futures[future]] = future.result()
                        advance()
                except BrokenProcessPool as error:
                    raise DataError(
                        f"one of the processes ({unit}) was killed, most likely because memory ran "
                        f"out. The same command goes on from here; set workers= below {processes}."
                    ) from error
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
    return [results[index] for index in range(len(tasks))]
