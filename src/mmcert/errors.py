"""The errors that are written for the person who sees them.

Every layer may import this module. A command prints the message of a :class:`MmcertError` and
nothing else (no traceback), and exits with a non-zero status.
"""

from __future__ import annotations


class MmcertError(Exception):
    """Something a user can mend: what was wrong, where (file, key, sample), what to do next."""


class DataError(MmcertError):
    """A data set, file or sample is missing, corrupt or inconsistent."""


class ConfigError(MmcertError):
    """A setting, or a combination of settings, makes no sense."""


class RecordError(MmcertError):
    """A run directory, votes file or checkpoint is not what it says, or of another schema."""


class FullDiskError(MmcertError):
    """A file did not fit on its disk; nothing half-written is left."""


class UnsoundError(MmcertError):
    """What was asked for would not be a certificate; the message gives the reason."""
