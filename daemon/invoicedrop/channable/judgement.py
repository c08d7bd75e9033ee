"""What came of a request: the one table of what responses become. `response` has the forms that are the API's own.

| what came back                                               | a write becomes                 | a read becomes    |
| ------------------------------------------------------------ | ------------------------------- | ----------------- |
| 2xx, 400, 404, 405, 406, 409, 410, 413, 415, 422, own form   | an `ApiResponse`: the endpoint's caller reads it    |
| 401, 403, 503, own form                                      | `Paused`: it was not taken      | as below          |
| 429, own form                                                | `Paused`; the rate limiter learns                   |
| no connection: nothing has left                              | `Paused`                                            |
| a lost or cut response; 500, 502, 504 in any form; other     | `OutcomeUnknown`                | `Unanswered`      |
| statuses in the own form                                     |                                 |                   |
| 413 in another form                                          | `OutcomeUnknown`                | `Unanswered`      |
| anything else: a box in between speaks                       | `OutcomeUnknown`, and the       | as below          |
|                                                              | project pauses                  |                   |

A read of **one resource** (an order, an attachment, a look-up) that is refused, or answered by a box, is that
resource's trouble (`Unanswered`) until a second resource says the same: then the project pauses (`Paused`). For the
list of all orders it pauses at once. `Project` asks that list where it matters.

**A 413 of a box** is about this one request: boxes refuse by the Content-Length, which each upload has, before they
pass it on (nginx's `client_max_body_size`, Apache's `LimitRequestBody`). But one that breaks off what it has begun to
pass on is imaginable, and one that answers 413 to everything for a while is no reason to move an invoice to failed/. So
the invoice stays in doubt, and no other one waits for it.

The statuses are those of the public OpenAPI 3.1 document of Channable's order connection API (2026-10).
"""

from collections.abc import Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, NamedTuple

from invoicedrop.channable.response import Speaker
from invoicedrop.errors import PauseCause


class Meaning(Enum):
    """What is known of a request after it was made."""

    ANSWERED = auto()
    """The API itself speaks about this one request."""
    NOT_TAKEN = auto()
    """The request was certainly not taken."""
    IN_DOUBT = auto()
    """The request may have been taken."""


class Judgement(NamedTuple):
    """What a response, or its absence, means.

    `cause` is set if nobody can upload now; otherwise a failure may be this request's own. `sentence` is for a person,
    with places for `{host}` and `{detail}`.
    """

    meaning: Meaning
    cause: PauseCause | None = None
    sentence: str = ""


_ABOUT_THE_REQUEST: Final = frozenset({400, 404, 405, 406, 409, 410, 413, 415, 422})
"""Error statuses with which the API itself speaks about this one request."""
_GATEWAY_LOST: Final = frozenset({500, 502, 504})
"""Statuses of trouble behind the sender, the API's own or not: the request may have been taken."""


def _pause(cause: PauseCause, sentence: str) -> Judgement:
    return Judgement(Meaning.NOT_TAKEN, cause, sentence)


_PAUSES: Final[Mapping[int, Judgement]] = {
    HTTPStatus.UNAUTHORIZED: _pause(
        PauseCause.TOKEN, "the API token is wrong, revoked or expired: put a new one into the token file ({detail})"
    ),
    HTTPStatus.FORBIDDEN: _pause(
        PauseCause.TOKEN,
        "the API token may not use this company or project: check company_id, project_id, the token ({detail})",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: _pause(PauseCause.RATE_LIMIT, "the company's rate limit is used up ({detail})"),
    HTTPStatus.SERVICE_UNAVAILABLE: _pause(PauseCause.OUTAGE, "the API is out of service ({detail})"),
}
_UNREACHABLE: Final = _pause(PauseCause.OUTAGE, "{host} cannot be reached: {detail}")
PROXY_FAILED: Final = _pause(PauseCause.OUTAGE, "{detail}")
"""The proxy made no connection: whether the API is well is not known."""


def _box(sentence: str) -> Judgement:
    return Judgement(Meaning.IN_DOUBT, PauseCause.OUTAGE, sentence)


_REDIRECT: Final = _box("the API address sends us elsewhere: is api_url right? ({detail})")
_PROXY_LOGIN: Final = _box("the proxy wants a login ({detail})")
_WEB_PAGE: Final = _box("something answers with a web page: is api_url right, or is a proxy in the way? ({detail})")
_REFUSING_BOX: Final = _box(
    "something other than the API refuses us: is api_url right, or is a firewall, a proxy or a sign-in in the way? "
    "({detail})"
)
_OTHER_BOX: Final = _box(
    "something other than the API answers in its place: is api_url right, or is a gateway or proxy in trouble? "
    "({detail})"
)
_TROUBLE: Final = Judgement(Meaning.IN_DOUBT, None, "{host} is in trouble: {detail}")
_TOO_LARGE: Final = Judgement(Meaning.IN_DOUBT, None, "something before {host} takes no request this large: {detail}")


def judge(status: int | None, speaker: Speaker = Speaker.API, *, is_html: bool = False, sent: bool = True) -> Judgement:
    """Return what a response means, by its status (None: there was no response), its speaker and its form.

    `sent` is whether the request's first byte may have left.
    """
    if status is None:
        return Judgement(Meaning.IN_DOUBT, None, "{host} does not answer: {detail}") if sent else _UNREACHABLE
    if status // 100 == 3:  # noqa: PLR2004 - HTTP's own meaning of 3xx
        return _REDIRECT
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return _PROXY_LOGIN
    if status in _GATEWAY_LOST or speaker is Speaker.CUT:
        return _TROUBLE
    if speaker is Speaker.API:
        success = status // 100 == 2  # noqa: PLR2004 - HTTP's own meaning of 2xx
        answered = success or status in _ABOUT_THE_REQUEST
        return Judgement(Meaning.ANSWERED) if answered else _PAUSES.get(status, _TROUBLE)
    return _of_box(status, is_html=is_html)


def _of_box(status: int, *, is_html: bool) -> Judgement:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _TOO_LARGE
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _REFUSING_BOX
    return _WEB_PAGE if is_html else _OTHER_BOX
