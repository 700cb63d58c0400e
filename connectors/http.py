"""Asking HTTP servers of our own machine, past any proxy of the environment and without following redirects."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """An HTTP answer: status, body, and where it redirects to."""

    status: int
    body: bytes
    location: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def request(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 10.0,
) -> Answer:
    """One HTTP request; every status is an answer. OSError when nothing answers."""
    asked = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with _opener.open(asked, timeout=timeout_s) as response:
            return Answer(response.status, response.read(), response.headers.get("Location", ""))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers.get("Location", ""))


def post_form(url: str, fields: dict[str, str]) -> Answer:
    """POST fields as an HTML form does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(url, method="POST", body=urllib.parse.urlencode(fields).encode(), headers=headers)


def answers_200(url: str, *, headers: dict[str, str] | None = None, timeout_s: float = 2.0) -> bool:
    """Whether a GET of this URL is answered with status 200 now."""
    try:
        return request(url, headers=headers, timeout_s=timeout_s).status == 200
    except OSError:
        return False
