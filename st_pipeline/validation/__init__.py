"""DECODE and CHECK: from bytes to typed rows to a checked Arrow table, and rejects. Not here: network, database."""
