"""What a simulator held when it was stopped, so that the next one goes on from there.

Here: writing and reading the file. Not here: when (server.py, commands.py). It is pickled: only for a file that nobody
else can write.
"""

import os
import pickle
from pathlib import Path

from st_pipeline.simulator.tenant import World

PRIVATE = 0o600


def save(world: World, path: Path) -> None:
    """Write everything, or nothing: a half-written file never has the name."""
    unfinished = path.with_suffix(".unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
        pickle.dump(world, file, protocol=pickle.HIGHEST_PROTOCOL)
    unfinished.replace(path)


def take(path: Path) -> World | None:
    """What the last one held, and remove the file: a simulator that is killed must not be followed by an older one.

    None: nothing was saved, or by another version of the simulator.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    path.unlink()
    try:
        world: World = pickle.loads(content)  # noqa: S301 - our own file, in the owner's folder
    except (pickle.UnpicklingError, AttributeError, ImportError, EOFError, TypeError, ValueError, IndexError):
        return None
    return world
