"""The roll call: who has come, who waits for whom, and who is gone.

One process holds it: rank 0, or the command that started the ranks. Each rank keeps one connection
to it and speaks in lines of JSON, so nothing that arrives is run. A connection that ends without a
goodbye is a rank that died; one that stays silent is a machine that is gone. ``torch``'s own store
could do no more than hang, or print C++ frames, in either case.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from mmcert.voting.started import Place

#: Seconds between two signs of life, and without one until a rank counts as dead.
BEAT, SILENCE = 5.0, 30.0
#: Seconds that a message may wait for a receiver that does not read.
_SEND_LIMIT = 20


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message; whoever calls holds the connection's lock."""
    connection.sendall(json.dumps(message).encode() + b"\n")


def patient(connection: socket.socket) -> socket.socket:
    """The connection, with a limit on sending and none on receiving."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_LIMIT, 0))
    return connection


class Hub:
    """Holds the roll call of ``place.world`` ranks until it is closed.

    Args:
        place: Of any of them.
        minutes: Until the last one must have come.
        key: The configuration key of that limit, for the message.
        local: Whether all are on this machine.
    """

    def __init__(self, place: Place, minutes: float, key: str, *, local: bool) -> None:
        self._place, self._minutes, self._key, self._local = place, minutes, key, local
        self.token = secrets.token_hex(16)
        self._server = _listen(local)
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._members: dict[int, socket.socket] = {}
        self._names: dict[int, str] = {}
        self._heard: dict[int, float] = {}
        self._left: set[int] = set()
        self._given: dict[int, dict[int, Any]] = {}
        self._failure: str | None = None
        self._closed = threading.Event()
        self._deadline = time.monotonic() + 60 * minutes
        for loop in (self._accept, self._watch):
            threading.Thread(target=loop, daemon=True).start()

    def close(self, seconds: float = 0.0) -> None:
        """End it, once all who came have said goodbye, or after some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._left >= set(self._members):
            time.sleep(0.05)
        self._closed.set()
        with contextlib.suppress(OSError):  # wakes the thread that waits for connections
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._members.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        rank: int | None = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), connection:
            for line in patient(connection).makefile("rb"):
                message = json.loads(line)
                if rank is not None:
                    self._take(rank, message)
                elif hmac.compare_digest(str(message["token"]), self.token):
                    rank = self._admit(message, connection)
                else:
                    return  # not one of ours
        if rank is not None:
            self._ended(rank)

    def _admit(self, message: Mapping[str, Any], connection: socket.socket) -> int:
        rank = int(message["rank"])
        with self._lock:
            if rank in self._members or not 0 <= rank < self._place.world:
                send(connection, {"failed": f"there are two processes of rank {rank}."})
                raise ValueError(rank)
            self._members[rank] = connection
            self._names[rank] = str(message["name"])
            self._heard[rank] = time.monotonic()
            if self._failure is not None:  # before this one came
                send(connection, {"failed": self._failure})
        return rank

    def _take(self, rank: int, message: Mapping[str, Any]) -> None:
        self._heard[rank] = time.monotonic()
        if "step" in message:
            step = int(message["step"])
            with self._lock:
                given = self._given.setdefault(step, {})
                given[rank] = message["value"]
                if len(given) < self._place.world:
                    return
                del self._given[step]
            self._tell({"step": step, "values": [given[r] for r in range(self._place.world)]})
        elif "failed" in message:
            self._fail(str(message["failed"]), but=rank)
        elif "left" in message:
            self._left.add(rank)

    def _ended(self, rank: int) -> None:
        if rank not in self._left and not self._closed.is_set():
            self._left.add(rank)
            self._fail(f"{self._called(rank)} has died, perhaps for lack of memory. {self._look()}")

    def _watch(self) -> None:
        while not self._closed.wait(BEAT / 5):
            now = time.monotonic()
            missing = sorted(set(range(self._place.world)) - set(self._members))
            if missing and now > self._deadline:
                self._fail(self._missing(missing))
            for rank, heard in list(self._heard.items()):
                # On one machine its parent sees it end, and a busy machine is no dead one.
                if now - heard > SILENCE and rank not in self._left and not self._local:
                    self._left.add(rank)
                    self._fail(
                        f"{self._called(rank)} has given no sign of life for {SILENCE:.0f} s: it "
                        f"hangs, or its machine is gone. {self._look()}"
                    )
            self._tell({"beat": True})

    def _missing(self, missing: list[int]) -> str:
        came = ", ".join(f"{rank} ({self._names[rank]})" for rank in sorted(self._names))
        ranks = ", ".join(map(str, missing))
        return (
            f"{self._place.starter} was to start {self._place.world} processes; after "
            f"{self._minutes:g} minutes rank{'s' * (len(missing) > 1)} {ranks} did not come, only "
            f"{came or 'none'}. {self._look()} {self._key} sets how long to wait."
        )

    def _look(self) -> str:
        logs = f"Look at {self._place.logs}. " if self._place.logs else ""
        return f"{logs}What was finished is kept; run the same line again."

    def _called(self, rank: int) -> str:
        return f"rank {rank} of {self._place.world} ({self._names[rank]})"

    def _fail(self, reason: str, but: int | None = None) -> None:
        if self._failure is None:
            self._failure = reason
            self._tell({"failed": reason}, but)

    def _tell(self, message: Mapping[str, Any], but: int | None = None) -> None:
        with self._lock:
            for rank, connection in self._members.items():
                if rank != but:
                    with contextlib.suppress(OSError):  # its end is noticed by who listens to it
                        send(connection, message)


def _listen(local: bool) -> socket.socket:
    if local:
        return socket.create_server(("127.0.0.1", 0))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))
