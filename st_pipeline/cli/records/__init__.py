"""`st-pipeline rejects` and `explain`: parsing and printing."""
