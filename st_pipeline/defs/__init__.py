"""Dagster, and nothing but Dagster.

Here: assets, jobs, schedules, the sensor, resources, and what the UI shows. Not here: syncing, which works without
Dagster (sync/), starting runs from outside (runs/).
No `from __future__ import annotations` in this folder: Dagster reads the annotations.
"""
