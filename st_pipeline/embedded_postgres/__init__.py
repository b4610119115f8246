"""The Postgres server that is installed with st-pipeline: found, started, shared by every process, stopped.

Here: programs, folders, processes. Not here: any table or connection of ours (postgres/).
"""
