"""A ServiceTitan API to develop, demonstrate and test against: a real HTTP server, in a process of its own.

Here: the server (`app`, `serve`), the companies it makes up (`generate/`), its control API and the client of that
(`control`), the pytest fixtures (`pytest_plugin`). Not here: anything of the pipeline. The simulator must not share its
opinion of ServiceTitan, so it imports nothing of ours but the errors.
"""
