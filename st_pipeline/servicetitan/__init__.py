"""FETCH: tokens, requests, pages. No Dagster, no database, nothing about what a column means."""
