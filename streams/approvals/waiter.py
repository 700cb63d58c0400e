"""What a tap believes of a decision, and the wait for it.

The tap reads signed decisions from the topic itself: whoever can write to the topic, or answer in the stream's place,
still can't approve without the control key. An approval lets one statement run, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taprail.schemas.control import Decision, SignedRecord
from taprail.schemas.errors import SignatureError
from taprail.schemas.guard import Release
from taprail.schemas.records import Person
from taprail.streams.approvals.decide import asked_by, open_decision

EARLY_MAX = 1000  # decisions that came before anybody waits for them (never normally: the tap asks first)
_log = logging.getLogger("taprail.approvals")


class DecisionDesk:
    """Waits and decisions meet here, in the tap's event loop. `take` is given every record of the topic."""

    def __init__(self, public_keys: dict[str, Ed25519PublicKey]) -> None:
        self._public_keys = public_keys
        self._waiting: dict[str, asyncio.Future[Decision]] = {}
        self._early: OrderedDict[str, Decision] = OrderedDict()
        self._used: set[str] = set()
        self.refused = 0

    def take(self, record: SignedRecord) -> None:
        """Believe a decision whose signature holds; tell of any other. The first one counts."""
        try:
            decision = open_decision(record, self._public_keys)
        except SignatureError as error:
            self.refused += 1
            _log.error("a decision is not believed: %s", error)
            return
        future = self._waiting.get(decision.approval_id)
        if future is not None and not future.done():
            future.set_result(decision)
        elif future is None and decision.approval_id not in self._used:
            self._early.setdefault(decision.approval_id, decision)
            while len(self._early) > EARLY_MAX:
                self._early.popitem(last=False)

    async def wait(self, approval_id: str, binding: str, requester: Person, timeout_s: float) -> Release:
        """The decision on this approval, as what the tap does with it. Cancel it when the client goes away."""
        if approval_id in self._used:
            return Release(False, approval_id, "this approval was used already", "denied")
        self._used.add(approval_id)
        future = asyncio.get_running_loop().create_future()
        if (early := self._early.pop(approval_id, None)) is not None:
            future.set_result(early)
        self._waiting[approval_id] = future
        try:
            decision = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return Release(False, approval_id, f"nobody decided within {timeout_s:.0f} s", "expired")
        finally:
            del self._waiting[approval_id]
        return judge(decision, approval_id, binding, requester)


def judge(decision: Decision, approval_id: str, binding: str, requester: Person) -> Release:
    """Whether a decision, already believed, lets exactly this statement of this requester run."""
    approver = decision.approver
    if decision.approval_id != approval_id or decision.binding != binding:
        return Release(False, approval_id, "the approval is for another statement", "denied")
    if asked_by(requester, approver) or approver.kind != "person":
        return Release(False, approval_id, "the requester or a program decided, not another person", "denied")
    if decision.decided_us >= decision.expires_us:
        return Release(False, approval_id, "the decision came too late", "expired")
    if decision.decision != "approve":
        return Release(False, approval_id, f"{approver.name} said no: {decision.reason}", "denied")
    return Release(True, approval_id, f"{approver.name}: {decision.reason}")
