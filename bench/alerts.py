"""From a statement at the tap to its alert on the topic, at 200 statements a second, through a whole installation.

The clock starts before the client sends, and stops when a read_committed consumer has the alert. The baseline is the
same statement's round trip at the client: what the tap and the server take by themselves.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from figures import Figures

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.local.identity import access_token
from taprail.schemas import avro
from taprail.schemas.records import Alert
from taprail.streams.demo.world import seed
from taprail.streams.local import LocalInstallation
from taprail.streams.settings import Loaded

PER_SECOND = 200
SECONDS = 15
ALERTING_EVERY = 10  # every tenth statement is denied, and alerted


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as home:
        installation = LocalInstallation(Path(home) / "home", lambda line: None)
        try:
            loaded = installation.start(lambda endpoints: seed(endpoints.postgres.dsn("prod")))
            sent, round_trips, seen = _play(installation, loaded)
        finally:
            installation.stop()
    waits = [seen[name] - at for name, at in sent.items() if name in seen]
    if len(waits) < len(sent):
        sys.exit(f"{len(sent) - len(waits)} of {len(sent)} alerts never came")
    out = Figures("alerts")
    for name, quantile in (("p50", 50), ("p99", 99)):
        value, baseline = (_percentile(values, quantile) * 1000 for values in (waits, round_trips))
        out.figure(
            f"statement to alert, {name}, {PER_SECOND}/s", round(value, 1), "ms", "round trip", round(baseline, 1)
        )


def _play(installation: LocalInstallation, loaded: Loaded) -> tuple[dict[str, float], list[float], dict[str, float]]:
    tap = loaded.settings.tap
    token = access_token(installation.endpoints.issuer_url, "ann")
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    round_trips: list[float] = []
    stop = threading.Event()
    config = loaded.kafka("viewer").client_config("viewer")
    with (
        Follower(config, {"taprail.alerts": avro.decoder(Alert)}) as follower,
        psycopg.connect(
            host=tap.host, port=tap.port, user="ann", dbname="prod", password=token, autocommit=True
        ) as connection,
    ):

        def watch() -> None:
            while not stop.is_set():
                followed = follower.poll(0.05)
                if followed is not None and followed.record.rule == "denied-destructive":
                    name = followed.record.summary.split(" of ")[1].split(" ")[0]
                    seen.setdefault(name, time.perf_counter())

        thread = threading.Thread(target=watch)
        thread.start()
        begun = time.perf_counter()
        for number in range(PER_SECOND * SECONDS):
            time.sleep(max(0.0, begun + number / PER_SECOND - time.perf_counter()))
            at = time.perf_counter()
            if number % ALERTING_EVERY == 0:
                name = f"t{number}"
                sent[name] = at
                with contextlib.suppress(psycopg.Error):
                    connection.execute(f"DROP TABLE {name}")
            else:
                connection.execute("SELECT id FROM orders WHERE id = %s", [number])
            round_trips.append(time.perf_counter() - at)
        time.sleep(3)
        stop.set()
        thread.join()
    return sent, round_trips, seen


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    main()
