"""A second, small implementation of every check, for people who trust no single one.

Nothing here imports :mod:`mmcert.theory`, nor the code that wrote the certificates. Overlaps are
:class:`fractions.Fraction` products; tails are :class:`decimal.Decimal` sums of 50 digits with
every operation rounded against the certificate, so a tail here is never below the true one.
"""
