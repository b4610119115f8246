"""Questions and repairs: history, explain, failed syncs, rejects, replay.

Here: what an operator asks or repairs, as plain functions for the command line, a service and alerts alike. Not here:
printing (cli/), syncing itself (sync/), starting runs (runs/).
"""
