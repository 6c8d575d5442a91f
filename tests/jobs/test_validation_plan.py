"""A plan on validation votes, from a checkpoint to a certification that follows it."""

import json
from io import StringIO

import pytest
from rich.console import Console

from mmcert import jobs
from mmcert.cli.compose import compose


@pytest.fixture(scope="session")
def planned(trained, tmp_path_factory):
    """A plan of a tiny checkpoint: its run directory, its content, and what was said."""
    out = tmp_path_factory.mktemp("plan")
    said = StringIO()
    config = compose(
        "plan",
        [
            f"checkpoint={trained}",
            "target.budget={rgb: 2, depth: 4}",
            "plan.minutes=2",
            "plan.draws=20",
            "voting.processes=1",
        ],
    )
    made = jobs.plan(config, out, console=Console(file=said, width=160))
    return out, made, said.getvalue()


def test_a_plan(planned):
    out, made, said = planned
    print(said)
    print(json.dumps(made, indent=1)[:3000])
    assert 0
