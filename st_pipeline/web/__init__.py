"""The web server: Dagster's UI behind a gate that other web pages cannot pass.

Here: the gate, the server, and the processes of a whole Dagster on one machine. Not here: the commands that start them
(cli/), what Dagster shows (defs/).
"""
