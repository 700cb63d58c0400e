"""What a tap believes of a decision, and the wait for it.

The tap reads signed decisions from the topic itself, and counts them itself: whoever can write to the topic, or answer
in the stream's place, still can't approve without the control key. An approval lets one statement run, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from taprail.schemas.control import Decision, SignedRecord
from taprail.schemas.errors import SignatureError
from taprail.schemas.guard import Release
from taprail.schemas.records import ApprovalState
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.votes import Count, Question, count

EARLY_MAX = 1000  # decisions that came before anybody waits for them (never normally: the tap asks first)
_USED_MAX = 100_000  # approvals that were waited for; a tap never names two statements alike
ASKED_SECONDS = 30.0  # how long the approvals service may take to know of a request
_log = logging.getLogger("taprail.approvals")


class _Wait(Struct):
    """Somebody waits here for votes to come to something."""

    question: Question
    votes: list[Decision]
    settled: asyncio.Future[Count]
    is_asked: bool = False

    def take(self, vote: Decision) -> None:
        self.votes.append(vote)
        counted = count(self.question, self.votes)
        if counted.answer and not self.settled.done():
            self.settled.set_result(counted)


class DecisionDesk:
    """Waits and decisions meet here, in the tap's event loop. `take` is given every record of the topic."""

    def __init__(self, public_keys: dict[str, Ed25519PublicKey]) -> None:
        self._public_keys = public_keys
        self._waiting: dict[str, _Wait] = {}
        self._early: OrderedDict[str, list[Decision]] = OrderedDict()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._asked: OrderedDict[str, None] = OrderedDict()
        self.refused = 0

    def take(self, record: SignedRecord) -> None:
        """Believe a decision whose signature holds; tell of any other."""
        try:
            decision = open_decision(record, self._public_keys)
        except SignatureError as error:
            self.refused += 1
            _log.error("a decision is not believed: %s", error)
            return
        if (waiting := self._waiting.get(decision.approval_id)) is not None:
            waiting.take(decision)
        elif decision.approval_id not in self._used:
            self._early.setdefault(decision.approval_id, []).append(decision)
            while len(self._early) > EARLY_MAX:
                self._early.popitem(last=False)

    def take_state(self, state: ApprovalState) -> None:
        """The approvals service says that it has taken a request. It isn't signed: it makes nobody but wait."""
        if state.status != "requested":
            return
        if (waiting := self._waiting.get(state.approval_id)) is not None:
            waiting.is_asked = True
        else:
            self._asked[state.approval_id] = None
            while len(self._asked) > EARLY_MAX:
                self._asked.popitem(last=False)

    async def wait(self, approval_id: str, question: Question, timeout_s: float) -> Release:
        """What the votes come to, as what the tap does with it. Cancel it when the client goes away."""
        if approval_id in self._used:
            return Release(False, approval_id, "this approval was used already", "denied")
        self._used[approval_id] = None
        while len(self._used) > _USED_MAX:
            self._used.popitem(last=False)
        is_asked = approval_id in self._asked
        waiting = _Wait(question, [], asyncio.get_running_loop().create_future(), is_asked)
        for vote in self._early.pop(approval_id, ()):
            waiting.take(vote)
        self._waiting[approval_id] = waiting
        try:
            counted = await _settled(waiting, timeout_s)
        except TimeoutError:
            return Release(False, approval_id, _nobody(waiting, timeout_s), "expired")
        finally:
            del self._waiting[approval_id]
        settling = counted.deciding
        assert settling is not None
        if counted.answer != "approve":
            return Release(False, approval_id, f"{settling.approver.name} said no: {settling.reason}", "denied")
        names = ", ".join(each.approver.name for each in counted.approved)
        return Release(True, approval_id, f"{names}: {settling.reason}")


async def _settled(waiting: _Wait, timeout_s: float) -> Count:
    """Raises TimeoutError, early where the approvals service doesn't even take the request."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(asyncio.shield(waiting.settled), min(timeout_s, ASKED_SECONDS))
    if not (waiting.is_asked or waiting.votes):
        raise TimeoutError
    return await asyncio.wait_for(waiting.settled, ends - loop.time())


def _nobody(waiting: _Wait, timeout_s: float) -> str:
    if not (waiting.is_asked or waiting.votes) and timeout_s > ASKED_SECONDS:
        return f"nobody could be asked: the approvals service hasn't taken the request within {ASKED_SECONDS:.0f} s"
    if approved := len(count(waiting.question, waiting.votes).approved):
        needed = f"{approved} approved, which is not enough"
        return f"approvals were missing after {timeout_s:.0f} s: {needed}"
    return f"nobody decided within {timeout_s:.0f} s"
