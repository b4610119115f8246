"""Mutation testing: deliberate small faults, each of which a test must catch.

Here: making mutants, applying one to a copy of the project, running the tests that can see it. Not here: the tests.
"""
