"""The soak: hours of polls over many tenants with everything going wrong, on a clock that does not wait.

Here: everything of the soak. Not here: kills at chosen places of one sync (kill_lab/), what polls cost (benchmarks/).
"""
