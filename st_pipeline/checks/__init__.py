"""Checks of each tenant's data: what is to be true, asked of the tables with one query for many tenants.

Here: the checks' rules, their thresholds, running them, a company's own checks in SQL. Not here: Dagster's asset checks
(defs/), telling people (alerts/), the tables of verdicts (postgres/).
"""
