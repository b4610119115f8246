"""Starting Dagster runs and following them, without importing Dagster.

Here: the two run backends (a running Dagster over GraphQL, processes of our own) and following runs to their end. Not
here: what a run does (defs/), who asks for it (cli/).
"""
