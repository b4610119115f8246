"""Telling people what is wrong, once, and once when it is over.

Here: causes, collecting problems, deciding what alerts, messages, channels. Not here: finding wrong data (checks/), the
tables (postgres/), when it runs (defs/, cli/).
"""
