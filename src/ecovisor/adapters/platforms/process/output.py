"""What a container writes: from its pipe into two files that take turns, so that the end is kept and the disk never fills.

A container that writes faster than this reads waits, as it would for a slow terminal. `keeper` calls `pump` when there is something.
"""

from __future__ import annotations

import contextlib
import os

from ecovisor.adapters.platforms.process.folders import Folder

#: Read at once, and then not again for this time: at most 8 MiB/s, so that reading never costs as much as a container may use.
PIECE_BYTES = 65536
PAUSE_S = 1 / 128

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


class Output:
    """The output of one container.

    Args:
        folder: of the container.
        keep_bytes: kept at most; never less than the last half of it.
    """

    def __init__(self, folder: Folder, keep_bytes: int) -> None:
        self._folder = folder
        self._half_bytes = max(keep_bytes // 2, 1)
        self.descriptor = os.open(folder.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._file = os.open(folder.output, _FLAGS, 0o600)
        except OSError:
            os.close(self.descriptor)
            raise
        self._size_bytes = os.fstat(self._file).st_size

    def pump(self) -> int | None:
        """Take what is there, one piece; how much it was, None if nobody can write any more. [bytes]"""
        try:
            data = os.read(self.descriptor, PIECE_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            return None
        with contextlib.suppress(OSError):  # a full disk: output is lost, the container goes on
            self._keep(data)
        return len(data)

    def _keep(self, data: bytes) -> None:
        while data:
            room = self._half_bytes - self._size_bytes
            if room <= 0:
                self._folder.output.replace(self._folder.older_output)
                fresh = os.open(self._folder.output, _FLAGS, 0o600)
                os.close(self._file)
                self._file, self._size_bytes = fresh, 0
                continue
            written = os.write(self._file, data[:room])
            self._size_bytes += written
            data = data[written:]

    def finish(self) -> None:
        """The container has ended: take what is left in the pipe, and close it."""
        for _ in range(64):  # a pipe holds 1 MiB at most; somebody else may hold it open and write
            if not self.pump():
                break
        self.close()

    def close(self) -> None:
        """Let go of the files; what is in the pipe stays there for another keeper."""
        os.close(self.descriptor)
        os.close(self._file)


def writing_end(folder: Folder) -> int:
    """A descriptor for the container's side.

    It can read too: so there is always a reader, and a container that writes while there is no keeper waits instead of being ended by
    SIGPIPE.
    """
    return os.open(folder.pipe, os.O_RDWR)


def tail(folder: Folder, max_bytes: int) -> bytes:
    """The last of what was written."""
    found = b""
    for path in (folder.output, folder.older_output):
        if len(found) < max_bytes:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - (max_bytes - len(found))))
                found = file.read(max_bytes - len(found)) + found
    return found
