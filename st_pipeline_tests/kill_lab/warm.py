"""Imported once, by the process that workers are forked from: all that a first sync would load and build.

It saves each worker 2.5 s: pandas, pandera and what they import, the schemas of every table, and the main module's.
"""

import pytest

from st_pipeline.sync.data_types import SYNCED
from st_pipeline.validation.schema import arrow_schema, failing_rows, warnings
from st_pipeline_tests.kill_lab import series

__all__ = ["pytest", "series"]

for spec in SYNCED.values():
    failing_rows(spec, arrow_schema(spec).empty_table())
    warnings(spec, arrow_schema(spec).empty_table())
