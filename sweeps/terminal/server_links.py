"""Print links to a server of this machine once it answers, while another program is the server.

A program that is about to become the server by ``exec`` starts this module as a process with
`print_once_it_answers`.
"""

import http.client
import os
import subprocess
import sys
import time

_PAUSE_SECONDS = 0.1
_LONGEST_ANSWER_SECONDS = 10


def print_once_it_answers(text: str, port: int) -> None:
    """Start a process that prints text on standard output once a port of this machine answers.

    The process ends without a word when this one ends before, also if ``exec`` has replaced it.
    Ctrl-C does not reach it, so that it cannot print a traceback.

    Args:
        text: lines.
        port: the port of the HTTP server.
    """
    command = [sys.executable, "-m", "sweeps.terminal.server_links", str(os.getpid()), str(port)]
    printer = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True)
    assert printer.stdin is not None
    printer.stdin.write(text)
    printer.stdin.close()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _main() -> None:
    server, port = map(int, sys.argv[1:])
    text = sys.stdin.read()
    while os.getppid() == server:
        if _answers(port):
            print(text, end="", flush=True)
            return
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    _main()
