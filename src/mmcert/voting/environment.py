"""What Fabric and Lightning are told about the processes: our ranks, already started.

Lightning's own environments read variables that may be left over from elsewhere (``NODE_RANK``,
``LOCAL_RANK``, ``MASTER_ADDR``, ``SLURM_NTASKS``); this one knows its place and reads nothing.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

from lightning_fabric.plugins.environments import ClusterEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only

from mmcert.voting.started import LEFT_OVERS, Place


class RankEnvironment(ClusterEnvironment):
    """A rank with one device; to Lightning, every rank is a node of its own.

    So it does not matter how the ranks are spread over machines, nor whether a rank sees all GPUs
    of its machine or its own alone. The process group is joined before (see ``peers``), so there is
    no address to give.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        # Who started us has been found out better than by the presence of a program.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        self._place = place
        # Lightning has read it from RANK, LOCAL_RANK or SLURM_PROCID when it was imported.
        rank_zero_only.rank = place.rank  # type: ignore[attr-defined]

    @property
    def creates_processes_externally(self) -> bool:
        """They are there."""
        return True

    @property
    def main_address(self) -> str:
        """Not used: the process group is there."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Not used: the process group is there."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Never by itself."""
        return False

    def world_size(self) -> int:
        """How many ranks there are."""
        return self._place.world

    def set_world_size(self, size: int) -> None:
        """It is known already."""

    def global_rank(self) -> int:
        """The number of this rank."""
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known already."""

    def local_rank(self) -> int:
        """The only one of its node."""
        return 0

    def node_rank(self) -> int:
        """Every rank is a node."""
        return self._place.rank


@contextlib.contextmanager
def own_variables(rank: int, world: int) -> Iterator[None]:
    """Variables of process launchers are ours inside, and what they were outside.

    Libraries read them at import, and long after.
    """
    before = {name: os.environ.pop(name, None) for name in LEFT_OVERS}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
