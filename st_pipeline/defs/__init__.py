"""Dagster, and nothing but Dagster: everything it does goes through the engine, which runs without it.

assets.py (what can be materialized), materialize.py (the body), poll.py (the five-minute job), jobs.py, schedules.py,
sensors.py, active_runs.py (what is going on), run_tenants.py (whom a run is about),
partitions.py (tenants), options.py (what the launchpad offers),
resources.py, metadata.py (what the UI shows), launch.py (starting runs).
No `from __future__ import annotations` in this folder: Dagster reads the annotations.
"""
