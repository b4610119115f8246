"""DECODE and VALIDATE: bytes to typed rows to a checked Arrow table, and rejects. No network, no database."""
