"""What the verifier found: how many checks of each kind hold, and which do not."""

from __future__ import annotations

from dataclasses import dataclass, field

#: So many failures (and warnings) of a kind are listed one by one.
LISTED = 20


class CheckError(Exception):
    """Something cannot be derived at all: a file is missing, broken, or says the impossible."""


@dataclass
class Findings:
    """Checks of one run directory, by kind, in the order of their first check."""

    held: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    warned: dict[str, list[str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def hold(self, kind: str, count: int = 1) -> None:
        """``count`` checks of a kind hold."""
        self.held[kind] = self.held.get(kind, 0) + count

    def fail(self, kind: str, message: str) -> None:
        """A check does not hold: where, what is claimed, what was derived."""
        self.hold(kind, 0)
        self.failed.setdefault(kind, []).append(message)

    def check(self, kind: str, holds: bool, message: str) -> None:
        """Count a check, and keep the message where it does not hold."""
        if holds:
            self.hold(kind)
        else:
            self.fail(kind, message)

    def warn(self, kind: str, message: str) -> None:
        """Something that makes no claim wrong: less is claimed than could be."""
        self.warned.setdefault(kind, []).append(message)

    def skip(self, what: str) -> None:
        """Something that could not be checked, and why."""
        self.skipped.append(what)

    @property
    def all_hold(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def lines(self) -> list[str]:
        """One line per kind of check, then the failures one by one."""
        result = []
        for kind, held in self.held.items():
            failed = len(self.failed.get(kind, []))
            line = f"  {kind:<13} {held:>7} hold"
            line += f", {failed} FAIL" if failed else ""
            if kind in self.warned:
                line += f", {len(self.warned[kind])} claim less than could be claimed"
            result.append(line)
        result += [f"  not checked: {what}" for what in self.skipped]
        for word, found in (("FAILED", self.failed), ("warning", self.warned)):
            for kind, messages in found.items():
                result += [f"  {word} {kind}: {message}" for message in messages[:LISTED]]
                if len(messages) > LISTED:
                    result.append(f"  {word} {kind}: and {len(messages) - LISTED} more")
        return result
