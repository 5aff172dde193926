"""The ``laser`` command. Everything else is imported inside, so that Ctrl-C is quiet from the first moment on."""

from __future__ import annotations

import os
import signal
import sys


def main(arguments: list[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line's.

    Exit codes: 1 failed, 2 wrong input, 3 no answer from the platform, 130 interrupted.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has been started yet
    from client.commands import app
    from client.errors import LaserError
    from client.output import print_error

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us with Ctrl-C ignored
    try:
        app(arguments)
    except LaserError as error:
        print_error(error, as_json="--json" in (arguments or sys.argv))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
