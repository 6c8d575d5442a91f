"""The other processes, as one rank sees them: values gathered, deaths noticed, no endless wait.

No wait here is one of C code: the main thread looks every moment, so Ctrl-C and SIGTERM end it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any

from mmcert.errors import MmcertError
from mmcert.voting.hub import BEAT, SILENCE, Hub, patient, send
from mmcert.voting.started import Place

#: Seconds from the loss of a rank until a process that still computes is ended.
_GRACE = 10.0


class PeerError(MmcertError):
    """Another process of the job is missing, has died or has failed."""


class Peers:
    """One rank's connection to the roll call; as a context manager it says goodbye, or why not.

    Args:
        place: Of this process.
        connection: To the :class:`Hub`; None where this is the only process.
        token: What the hub asks for.
        hub: Where this process holds it.
        host: The name under which the hub was reached.
    """

    def __init__(
        self,
        place: Place,
        connection: socket.socket | None = None,
        token: str = "",
        hub: Hub | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.place = place
        self.rank, self.world, self.host = place.rank, place.world, host
        self._connection, self._hub = connection, hub
        self._lock = threading.Lock()  # of sending
        self._news = threading.Condition()
        self._values: dict[int, list[Any]] = {}
        self._step = 0
        self._failure: str | None = None
        self._closed = threading.Event()
        if connection is not None:
            name = f"process {os.getpid()} on {socket.gethostname()}"
            self._send({"token": token, "rank": place.rank, "name": name})
            for loop in (self._listen, self._beat):
                threading.Thread(target=loop, daemon=True).start()

    def gather(self, value: Any) -> list[Any]:
        """The values (plain data) that all ranks give at this point, by rank.

        Raises:
            PeerError: Where one of them is missing, has died or has failed.
        """
        if self._connection is None:
            return [value]
        step, self._step = self._step, self._step + 1
        self._send({"step": step, "value": value})
        with self._news:
            while step not in self._values:
                self.check()
                self._news.wait(0.2)
            return self._values.pop(step)

    def first(self, value: Any) -> Any:
        """What rank 0 gives."""
        return self.gather(value)[0]

    def wait(self) -> None:
        """Until all are here."""
        self.gather(None)

    def check(self) -> None:
        """Notice what happened to the others.

        Raises:
            PeerError: Where one of them is missing, has died or has failed.
        """
        if self._failure is not None:
            raise PeerError(self._failure)

    def failure(self, seconds: float) -> str | None:
        """What happened to the others, learned in that time at most."""
        until = time.monotonic() + seconds
        with self._news:
            while self._connection is not None and self._failure is None:
                if time.monotonic() > until:
                    break
                self._news.wait(0.2)
        return self._failure

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, PeerError):
            what = str(error) if isinstance(error, MmcertError) else _what_happened(error)
            self._send({"failed": f"rank {self.rank} of {self.world}: {what}"})
        self.close()

    def close(self) -> None:
        """Say goodbye; whoever holds the roll call waits a moment for those of the others."""
        self._closed.set()
        self._send({"left": True})
        if self._hub is not None:
            self._hub.close(seconds=BEAT)
        if self._connection is not None:
            with contextlib.suppress(OSError):  # wakes the thread that listens
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._connection is not None:
            with self._lock, contextlib.suppress(OSError):  # the reader notices, and says why
                send(self._connection, message)

    def _beat(self) -> None:
        while not self._closed.wait(BEAT):
            self._send({"beat": True})

    def _listen(self) -> None:
        assert self._connection is not None
        heard = time.monotonic()
        lines = _Lines(self._connection)
        while not self._closed.is_set():
            line = lines.next(BEAT)
            if line:
                heard = time.monotonic()
                self._take(json.loads(line))
            elif line == b"":
                return self._lose(f"{self._holder} has ended; what was finished is kept.")
            elif time.monotonic() - heard > SILENCE:
                return self._lose(
                    f"{self._holder} has given no sign of life for {SILENCE:.0f} s; what was "
                    f"finished is kept."
                )
        return None

    @property
    def _holder(self) -> str:
        return f"rank 0 of {self.world}" if self.place.launch else "the command that started this"

    def _take(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            self._lose(str(message["failed"]))
        elif "values" in message:
            with self._news:
                self._values[int(message["step"])] = message["values"]
                self._news.notify_all()

    def _lose(self, reason: str) -> None:
        with self._news:
            if self._closed.is_set() or self._failure is not None:
                return
            self._failure = reason
            self._news.notify_all()
        timer = threading.Timer(_GRACE, self._force)
        timer.daemon = True
        timer.start()

    def _force(self) -> None:
        """End a process whose main thread waits in C code for those who will not come."""
        if not self._closed.is_set():
            print(self._failure, file=sys.stderr, flush=True)
            os._exit(1)


class _Lines:
    """Lines of a socket, each waited for with a limit."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next(self, seconds: float) -> bytes | None:
        """A line; empty where the connection has ended; None where nothing came in that time."""
        while b"\n" not in self._rest:
            try:
                if not select.select([self._connection], [], [], seconds)[0]:
                    return None
                more = self._connection.recv(1 << 16)
            except (OSError, ValueError):  # closed, here or there
                return b""
            if not more:
                return b""
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def connect(host: str, port: int, token: str, place: Place, hub: Hub | None = None) -> Peers:
    """Join the roll call at an address.

    Raises:
        OSError: Where nobody answers there.
    """
    connection = socket.create_connection((host, port), timeout=5)
    connection.settimeout(None)
    return Peers(place, patient(connection), token, hub, host)


def _what_happened(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted."
    return f"{type(error).__name__}: {error}"
