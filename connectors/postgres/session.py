"""A PostgreSQL session between a client and a server, without sockets: bytes of either side in, bytes for both out."""

from __future__ import annotations

from taprail.connectors.postgres.admission import (
    Admission,
    ApprovalWait,
    CatalogWait,
    RecordWait,
    RowsWait,
    Wait,
    WaitResult,
)
from taprail.connectors.postgres.answers import Answers
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.requests import Requests
from taprail.connectors.postgres.state import Failure, State
from taprail.schemas.guard import Durability, Guard, Recorder, SessionContext

__all__ = ["ApprovalWait", "CatalogWait", "RecordWait", "RowsWait", "Session", "Wait", "WaitResult"]


class Session:
    """Both directions of one session, from the end of sign-in to its close.

    After every call, send `take_to_server()` to the server and `take_to_client()` to the client. While `wait` isn't
    None, do what it asks for and call `resume`. A ProtocolError ends the session; nothing may be forwarded after it.
    """

    def __init__(
        self,
        context: SessionContext,
        guard: Guard,
        recorder: Recorder,
        limits: Limits | None = None,
        *,
        path_reported: bool = True,
        durability: Durability = "process",
    ) -> None:
        self.limits = limits or Limits()
        self._state = State(context, guard, recorder, self.limits, path_reported, durability)
        self._admission = Admission(self._state)
        self._requests = Requests(self._state, self._admission)
        self._answers = Answers(self._state)

    @property
    def context(self) -> SessionContext:
        return self._state.context

    @property
    def wait(self) -> Wait | None:
        """What must be waited for before the client's next message is looked at."""
        return self._admission.wait

    @property
    def waiting_bytes(self) -> int:
        """What the client has sent ahead."""
        return self._requests.waiting

    @property
    def busy(self) -> bool:
        """The server owes an answer."""
        return len(self._state.queue) > 0 or not self._state.quiet

    @property
    def in_flight(self) -> int:
        """Messages that the server owes an answer for."""
        return len(self._state.queue)

    @property
    def progress(self) -> tuple[object, ...]:
        """Stays equal while the same statement runs, or while nothing does: for whoever looks from time to time."""
        first = self._state.queue.first
        return (self._state.answered, first, first.step) if first else (self._state.answered, self._state.group)

    @property
    def ended(self) -> bool:
        """The client said goodbye: close when everything is sent."""
        return self._state.ended

    @property
    def failure(self) -> Failure | None:
        """Why the tap must end the session, None while it need not. Nothing may be forwarded after it."""
        return self._state.failure

    @property
    def fatal(self) -> bool:
        """The server has told the client why it closes."""
        return self._answers.fatal

    @property
    def half_sent(self) -> bool:
        """The client has the beginning of a message only."""
        return self._answers.half_sent

    def from_client(self, data: bytes) -> None:
        self._requests.feed(data)

    def from_server(self, data: bytes) -> None:
        self._answers.feed(data)
        if self._requests.stalled and self._state.failure is None:
            self._requests.go_on()

    def resume(self, result: WaitResult) -> None:
        """The wait is over."""
        self._admission.resume(result)
        if self._admission.wait is None:
            self._requests.go_on()

    def take_to_server(self) -> bytes:
        """What may go to the server now. While a statement waits, so does what was sent with it: no locks are taken."""
        if self._admission.wait is not None or not self._state.to_server:
            return b""
        parts, self._state.to_server = self._state.to_server, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_to_client(self) -> bytes:
        if self._state.notices and not self._answers.half_sent:
            self._state.to_client += self._state.notices
            self._state.notices.clear()
        if not self._state.to_client:
            return b""
        parts, self._state.to_client = self._state.to_client, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def ask_search_path(self) -> None:
        """Before the first statement, on servers that don't report it."""
        self._answers.ask_path()

    def tell(self, notice: bytes) -> None:
        """A NoticeResponse of the tap's own, as soon as no message is half sent."""
        self._state.notices.append(notice)

    def close(self) -> None:
        """Write down the outcomes that will never be known."""
        self._answers.close()
