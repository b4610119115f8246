"""WRITE: the engine, migrations, tables made from entities, chunks, cursors, the sync log, the embedded server.

No network but Postgres, no Dagster, nothing about ServiceTitan's API.
"""
