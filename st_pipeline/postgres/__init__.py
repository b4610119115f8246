"""WRITE and read: the engine, migrations, tables made from entities, chunks, cursors, leases, the sync log.

Here: what talks to Postgres and to nothing else. Not here: starting a server (embedded_postgres/), ServiceTitan's API
(servicetitan/), Dagster (defs/).
"""
