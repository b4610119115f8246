"""`st-pipeline sync` and `retry-failed`: parsing and printing."""
