"""Companies, their ServiceTitan credentials, the vault that encrypts them, the audit trail, and the diagnosis.

No Dagster, and nothing about what is synced beyond asking which entities a credential may read.
"""
