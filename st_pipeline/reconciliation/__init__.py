"""Reconciliation: does what the tables hold equal what ServiceTitan shows? What differs, and its repair.

Here: comparing a tenant's entities with their lists, fetching what differs again, the verdict, the report. Not here:
the queries (postgres/), requests (servicetitan/), the way a record is written (sync/), commands and schedules.
"""
