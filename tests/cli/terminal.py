"""A command in a terminal of its own."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path


def in_terminal(folder: Path, *arguments: str, columns: int = 80, **changes: str) -> tuple[int, str]:
    """The status of a command and all that it writes to a terminal of so many columns."""
    decides = ("TERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING")
    environment = {name: value for name, value in os.environ.items() if name not in decides}
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "nestdsl", *arguments],
        cwd=folder, env=environment | {"TERM": "xterm", "LC_ALL": "C.UTF-8"} | changes,
        stdin=its, stdout=its, stderr=its,
    )  # fmt: skip
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # as Linux says that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    return process.wait(), written.decode("utf-8").replace("\r\n", "\n")
