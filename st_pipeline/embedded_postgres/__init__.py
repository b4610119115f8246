"""The Postgres server that comes along: found, started, shared by every process, stopped.

Here: programs, folders, processes. Not here: any table or connection of ours (postgres/).
"""
