"""The state of a stopped simulator, so that the next one can continue from it.

Here: writing and reading the file. Not here: when that happens. The file is pickled, so only the owner may be able to
write it.
"""

import os
import pickle
from pathlib import Path

from st_pipeline.simulator.tenant import World

PRIVATE = 0o600


def save(world: World, path: Path) -> None:
    """Write the file. A file that is only half written never has its final name."""
    unfinished = path.with_suffix(".unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
        pickle.dump(world, file, protocol=pickle.HIGHEST_PROTOCOL)
    unfinished.replace(path)


def take(path: Path) -> World | None:
    """Load the state and remove the file: after a kill, the next simulator must not continue from older state.

    None when there is no file, or when another version of the simulator wrote it.
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
