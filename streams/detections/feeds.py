"""A change feed that has stopped: until it runs again, nobody sees what goes round the tap."""

from __future__ import annotations

from collections.abc import Mapping

from taprail.schemas.records import Detection
from taprail.streams.detections.incident import incident

SILENCES_MAX = 3  # so many questions without an answer, and Connect itself is what failed
CONNECT = "Kafka Connect"
_US = 1_000_000


class Feeds:
    """What is told of the feeds' states; each failure once, until the feed runs again."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._silences = 0

    def judge(self, failed: Mapping[str, str] | None, now_us: int) -> tuple[list[Detection], list[Detection]]:
        """Failures to alert, and recoveries to note. `failed` is cause by feed; None where Connect doesn't answer."""
        self._silences = self._silences + 1 if failed is None else 0
        if failed is None:
            if self._silences < SILENCES_MAX:
                return [], []
            failed = {CONNECT: "it doesn't answer"}
            back: set[str] = set()
        else:
            back = self._told - failed.keys()
        new = failed.keys() - self._told
        self._told = (self._told | new) - back
        return (
            [_failed(name, failed[name], now_us) for name in sorted(new)],
            [_back(name, now_us) for name in sorted(back)],
        )


def _failed(name: str, cause: str, now_us: int) -> Detection:
    return incident(
        "change-feed-failed",
        f"{name}\0{now_us // _US}",
        time_us=now_us,
        severity="high",
        title=f"{name} has failed: changes are not seen",
        summary=f"{cause}. What failed is started again; changes wait in the database's WAL until it runs. See the log "
        "of Kafka Connect, and whether the database, the registry and Kafka answer it.",
        record="change feed",
    )


def _back(name: str, now_us: int) -> Detection:
    return incident(
        "change-feed-back",
        f"{name}\0{now_us // _US}",
        time_us=now_us,
        severity="informational",
        title=f"{name} runs again",
        summary="What changed in the meantime is attributed now, late.",
        record="change feed",
    )
