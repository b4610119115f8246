"""FETCH: tokens, requests, pages. Not here: Dagster, the database, what a column means."""
