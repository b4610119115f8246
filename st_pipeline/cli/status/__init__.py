"""`st-pipeline sync-status` and `logs`: parsing and printing."""
