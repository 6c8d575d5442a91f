"""The roll call among threads of one process: who is missing, who has died, who waits for whom."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmcert.errors import DataError
from mmcert.voting import hub as hub_module
from mmcert.voting import peers as peers_module
from mmcert.voting.hub import Hub
from mmcert.voting.peers import PeerError, Peers, connect
from mmcert.voting.rendezvous import RANKS, meet
from mmcert.voting.started import Place


def place(rank, world=3):
    return Place(rank, world, rank, starter="srun (step 7.0)", launch="slurm-7-0-0", logs="logs")


@pytest.fixture(autouse=True)
def all_closed(monkeypatch):
    """A rank that is left open would end this process, which is what it is for."""
    made = []
    make = Peers.__init__

    def noted(self, *arguments, **options):
        make(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(Peers, "__init__", noted)
    yield
    for one in made:
        one.close()


@pytest.fixture
def three():
    """Three ranks that have met."""
    hub = Hub(place(0), 1.0, "key", local=True)
    ranks = [connect("127.0.0.1", hub.port, hub.token, place(rank)) for rank in range(3)]
    yield ranks
    for one in ranks:
        one.close()
    hub.close()


def in_all(ranks, function):
    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(function, ranks))


def failure_of(rank, seconds=5):
    """What a rank has to say about the others, soon."""
    said = rank.failure(seconds)
    assert said is not None
    with pytest.raises(PeerError):
        rank.check()
    return said


def test_values_come_back_by_rank_and_in_step(three):
    assert in_all(three, lambda one: one.gather(one.rank**2)) == [[0, 1, 4]] * 3
    assert in_all(three, lambda one: one.first([one.rank, "x"])) == [[0, "x"]] * 3
    in_all(three, lambda one: one.wait())


def test_a_process_alone_gathers_its_own_value():
    assert Peers(Place()).gather("x") == ["x"]
    assert Peers(Place()).failure(0.0) is None


def test_a_rank_that_dies_is_named_to_those_who_wait_for_it(three):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(three[0].wait)
        three[2]._connection.shutdown(2)  # as the system does for a process that is killed
        with pytest.raises(PeerError, match=r"rank 2 of 3 \(process \d+ on .*\) has died"):
            waiting.result(timeout=10)
    assert "Look at logs" in failure_of(three[1])


def test_what_a_rank_raises_is_what_the_others_say(three):
    with pytest.raises(DataError), three[1]:
        raise DataError("sample 'um_000001' is torn.")
    for one in (three[0], three[2]):
        assert failure_of(one) == "rank 1 of 3: sample 'um_000001' is torn."


def test_a_roll_call_that_is_over_leaves_neither_port_nor_thread():
    before = set(threading.enumerate())
    hub = Hub(place(0, 1), 1.0, "key", local=True)
    only = connect("127.0.0.1", hub.port, hub.token, place(0, 1), hub)
    only.wait()
    only.close()
    with pytest.raises(ConnectionRefusedError):
        connect("127.0.0.1", hub.port, hub.token, place(0, 1))
    until = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before


def test_a_goodbye_is_no_death(three):
    three[2].close()
    time.sleep(0.3)
    three[0].check()


def test_a_machine_that_is_gone_is_noticed_by_its_silence(monkeypatch):
    monkeypatch.setattr(hub_module, "SILENCE", 0.5)
    monkeypatch.setattr(hub_module, "BEAT", 0.2)
    monkeypatch.setattr(peers_module, "BEAT", 0.1)
    hub = Hub(place(0, 2), 1.0, "key", local=False)
    ranks = [connect("127.0.0.1", hub.port, hub.token, place(rank, 2)) for rank in range(2)]
    in_all(ranks, lambda one: one.wait())
    time.sleep(1.0)
    ranks[0].check()  # nobody is silent who only computes
    ranks[1]._send = lambda message: None
    assert "rank 1 of 2" in (said := failure_of(ranks[0]))
    assert "no sign of life" in said
    hub.close()


def test_those_who_do_not_come_are_named_with_those_who_did():
    hub = Hub(place(0), 0.01, "voting.rendezvous_minutes", local=True)
    first = connect("127.0.0.1", hub.port, hub.token, place(0))
    said = failure_of(first)
    assert "0.01 minutes ranks 1, 2 did not come, only 0 (process" in said
    assert "srun (step 7.0) was to start 3 processes" in said
    assert "voting.rendezvous_minutes" in said
    hub.close()


def test_nobody_joins_without_the_token_or_twice(three):
    port = three[0]._connection.getpeername()[1]
    stranger = connect("127.0.0.1", port, "guess", place(1))
    assert "has ended" in failure_of(stranger)
    # The hub's own token, as a second process of the same rank would read it.
    hub = Hub(place(0, 2), 1.0, "key", local=True)
    connect("127.0.0.1", hub.port, hub.token, place(1, 2))
    again = connect("127.0.0.1", hub.port, hub.token, place(1, 2))
    assert "two processes of rank 1" in failure_of(again)
    hub.close()


def test_a_process_that_cannot_look_is_ended(monkeypatch, three):
    """The main thread may wait in C code, for a collective operation."""
    ended = threading.Event()
    monkeypatch.setattr(peers_module.os, "_exit", lambda status: ended.set())
    monkeypatch.setattr(peers_module, "_GRACE", 0.2)
    three[2]._connection.shutdown(2)
    assert ended.wait(10)


def test_ranks_meet_through_the_folder_that_they_share(tmp_path):
    stale = tmp_path / RANKS / "slurm-7-0-0.json"
    stale.parent.mkdir()
    stale.write_text(json.dumps({"machine": "x", "hosts": ["127.0.0.1"], "port": 1, "token": "t"}))
    met = in_all(range(3), lambda rank: meet(place(rank), tmp_path, 0.5, "key"))
    assert in_all(met, lambda one: one.gather(one.rank)) == [[0, 1, 2]] * 3
    in_all(met, lambda one: one.close())
    assert not (tmp_path / RANKS).exists()


def test_a_folder_that_is_not_shared_is_noticed(tmp_path):
    with pytest.raises(PeerError, match=r"rank 1 of 3.* did not find rank 0 .*all nodes share"):
        meet(place(1), tmp_path, 0.01, "key")
    with pytest.raises(PeerError, match="ranks 1, 2 did not come"):
        meet(place(0), tmp_path, 0.01, "key")
    assert not list(tmp_path.rglob("*.json"))
