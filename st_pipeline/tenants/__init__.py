"""Companies, their credentials, the audit trail, the diagnosis, and which tenants are due.

Here: what a tenant is and who may sync it. Not here: encryption (vault/), syncing (sync/), commands (cli/).
"""
