"""Companies, their credentials, the audit trail, the diagnosis, and which tenants are due.

Here: what a tenant is, and whether it may be synced. Not here: encryption (vault/), syncing (sync/), commands (cli/).
"""
