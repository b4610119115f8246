"""`st-pipeline credentials` and `st-pipeline keys`: parsing and printing."""
