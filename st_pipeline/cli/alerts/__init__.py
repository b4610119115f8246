"""`st-pipeline alerts` and `st-pipeline health`: what is wrong, who is told, is the platform well."""
