"""The kill lab: syncs that are killed with -9 again and again, and what must be true after the next one.

Here: everything of the lab. Not here: anything that the product imports; the engine knows nothing of being killed.
"""
