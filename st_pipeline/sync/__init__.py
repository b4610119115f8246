"""One tenant's sync: its entities in order, each from its cursor, page by page into chunks.

Here: the steps and their order. Not here: a request (servicetitan/), a rule about rows (validation/), SQL (postgres/).
"""
