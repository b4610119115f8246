"""A ServiceTitan API to develop, demonstrate and test against: a real HTTP server, in a process of its own.

Here: the server, the companies it makes up, its control API with a client, pytest fixtures. Not here: anything of the
pipeline. The simulator must not share the pipeline's understanding of ServiceTitan, so it imports no other room.
"""
