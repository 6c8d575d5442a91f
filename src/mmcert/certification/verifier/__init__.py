"""A second, small implementation of every check, for people who trust no single one.

Nothing here imports :mod:`mmcert.theory`, nor the readers of the records, nor the code that wrote
the certificates. Overlaps are :class:`fractions.Fraction` products; tails, e-values and their sums
are :class:`decimal.Decimal` numbers of 50 digits with every operation rounded against the
certificate; figures are compared as ratios of integers. Numpy loads arrays and counts elements.

Read it in this order: :mod:`~.overlap` (what votes must exceed), :mod:`~.tails` and
:mod:`~.margins` (the tests), :mod:`~.settling` (labels that the votes chose), :mod:`~.naming`
(which elements are certified), :mod:`~.evalues`, :mod:`~.martingales` and :mod:`~.closed` (how many
are), :mod:`~.figures` and :mod:`~.derive` (metrics), and :mod:`~.verify`, which holds a run
directory against them.
"""
