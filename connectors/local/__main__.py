"""Run the embedded stack until SIGTERM or Ctrl-C: `python -m taprail.connectors.local --home DIR`.

`DIR/endpoints.json` (mode 0600) says where everything answers; it is there only while the stack is up.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import write_endpoints
from taprail.schemas.errors import TaprailError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m taprail.connectors.local", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder for all data")
    parser.add_argument("--database", action="append", default=[], help="create this database (repeatable)")
    arguments = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    for number in signals:  # while it starts, a signal unwinds it and stops what is running
        signal.signal(number, _interrupt)
    try:
        with LocalStack(arguments.home, progress=lambda line: print(line, flush=True)) as stack:
            for name in arguments.database:
                stack.create_database(name)
            file = stack.home / "endpoints.json"
            write_endpoints(file, stack.endpoints)
            print(f"up; endpoints in {file}", flush=True)
            try:
                while True:
                    stack.check()
                    time.sleep(1.0)
            finally:
                file.unlink(missing_ok=True)
    except KeyboardInterrupt:
        return 0
    except TaprailError as error:
        print(error, file=sys.stderr)
        return 1


def _interrupt(_number: int, _frame: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # the second one may not interrupt the stop
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
