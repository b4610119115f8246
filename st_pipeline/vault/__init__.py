"""Encryption of what the database must not show, and nothing else."""
