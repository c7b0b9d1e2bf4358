"""One server per state directory, and how much it has committed: the file `ledger.lock`.

The lock itself is the system's (`flock`): it goes with the process, however that ends. The file's text names the holder for people, and
how many changes were committed: written after every commit, outside the database, so that a ledger that comes back with fewer (its
write-ahead log lost or damaged) is noticed. It is not forced to the disk; after a loss of power it may be behind, never ahead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ecovisor.model.errors import StoreError

FILE = "ledger.lock"
_TEXT = re.compile(r"pid\s+(\d+)\ncommits\s+(\d+)\nledger (\S*)")


class StateLock:
    """The lock, held from `take` to `release`.

    Attributes:
        identity: of the ledger that the count belongs to, as found in the file.
        commits: changes that were committed to it.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        _, self.commits, self.identity = _read(path)

    @classmethod
    def take(cls, state_dir: Path) -> StateLock:
        """Lock a directory.

        Raises:
            StoreError: another process holds it, or the file cannot be made.
        """
        import fcntl  # servers run on Unix

        path = state_dir / FILE
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened: {error.strerror}; check the directory's permissions and space") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise StoreError(
                f"{state_dir}: in use by the server with pid {_read(path)[0]}; stop it, or choose another state directory"
            ) from None
        taken = cls(path, handle)
        taken.note(taken.identity, taken.commits)
        return taken

    def note(self, identity: str, commits: int) -> None:
        """Write down what has been committed. Failing to is no reason to stop: the count is then behind."""
        text = f"pid {os.getpid():>10}\ncommits {commits:>20}\nledger {identity:<40}\n"
        try:
            os.pwrite(self._handle, text.encode(), 0)
        except OSError:
            return
        self.identity, self.commits = identity, commits

    def release(self) -> None:
        """Let others have it."""
        os.close(self._handle)


def committed(state_dir: Path) -> tuple[int, str]:
    """The count in the file and the ledger it belongs to; 0 and nothing if there is none."""
    _, commits, identity = _read(state_dir / FILE)
    return commits, identity


def _read(path: Path) -> tuple[str, int, str]:
    try:
        found = _TEXT.match(path.read_text("ascii", "replace"))
    except OSError:
        found = None
    return (found[1], int(found[2]), found[3]) if found else ("unknown", 0, "")
