"""How ranks that were started outside find each other: through the folder they all write to.

Rank 0 opens a port that is free and leaves its number there, under the name of this start; the
others read it. No port is guessed, no variable that may be left over is believed, and a folder that
is not shared, which would lose results, is noticed before any work.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

from mmcert.records.atomic import atomic_write
from mmcert.voting.hub import Hub
from mmcert.voting.peers import PeerError, Peers, connect
from mmcert.voting.started import Place

#: Where the announcements are, below the folder of the job.
RANKS = ".ranks"


def meet(place: Place, folder: Path, minutes: float, key: str) -> Peers:
    """Join the other ranks; all of them are there when it returns.

    Args:
        place: Of this process.
        folder: All ranks give the same one.
        minutes: How long to wait for the others.
        key: The configuration key of that limit, for the message.

    Raises:
        PeerError: Where one did not come in time, naming it and what to look at.
    """
    if place.world == 1:
        return Peers(place)
    name = re.sub(r"[^\w.-]+", "_", place.launch)[:120]
    file = folder / RANKS / f"{name}.json"
    peers = (
        _hold(place, file, minutes, key) if place.rank == 0 else _find(place, file, minutes, key)
    )
    try:
        peers.wait()
    except BaseException:
        peers.close()
        raise
    finally:
        if place.rank == 0:
            file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another start has left its own there
                file.parent.rmdir()
    return peers


def _hold(place: Place, file: Path, minutes: float, key: str) -> Peers:
    hub = Hub(place, minutes, key, local=False)
    hosts = [*place.hosts, socket.getfqdn(), socket.gethostname(), *_addresses()]
    announcement = {
        "machine": _machine(),
        "hosts": list(dict.fromkeys(hosts)),
        "port": hub.port,
        "token": hub.token,
    }
    with atomic_write(file) as stream:
        stream.write(json.dumps(announcement).encode())
    return connect("127.0.0.1", hub.port, hub.token, place, hub)


def _find(place: Place, file: Path, minutes: float, key: str) -> Peers:
    until = time.monotonic() + 60 * minutes
    tried: dict[str, str] = {}
    while time.monotonic() < until:
        found = _read(file)
        if found is not None:
            hosts = ["127.0.0.1"] if found["machine"] == _machine() else list(found["hosts"])
            for host in hosts:
                try:
                    return connect(host, int(found["port"]), str(found["token"]), place)
                except OSError as error:  # an announcement of before, or not this way
                    tried[f"{host}:{found['port']}"] = error.strerror or str(error)
        time.sleep(0.3)
    reason = (
        f"it answers at none of {', '.join(f'{at} ({why})' for at, why in tried.items())}; a "
        f"firewall between the nodes, or it has ended"
        if tried
        else f"it has not announced itself in {file}: it is not there, or does not see this folder "
        f"(run_dir must be on a file system that all nodes share)"
    )
    raise PeerError(
        f"rank {place.rank} of {place.world}, started by {place.starter}, did not find rank 0 "
        f"within {minutes:g} minutes: {reason}. Look at {place.logs}. {key} sets how long to wait."
    )


def _read(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError):
        list(file.parent.iterdir())  # a network file system looks again only where it is listed
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.keys() >= {"port", "token", "hosts"} else None


def _machine() -> str:
    """Names this machine among all that may have its host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _addresses() -> list[str]:
    with contextlib.suppress(OSError):
        return [str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)]
    return []
