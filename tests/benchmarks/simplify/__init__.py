"""graphopt beside the simplifiers of others: `make bench-simplify`, CORPUS=DIR for models of yours.

Every tool runs in a fresh process, and so does what judges its result: a crash is a finding.
"""
