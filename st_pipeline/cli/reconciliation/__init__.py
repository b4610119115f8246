"""`st-pipeline reconcile`."""
