"""The rules of the checks, a module for each family; each module exports its `CHECKS`."""
