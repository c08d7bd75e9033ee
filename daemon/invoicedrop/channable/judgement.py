"""What came of a request: the one table of what the API's responses become.

| what came back                                        | becomes                                             |
| ----------------------------------------------------- | --------------------------------------------------- |
| 2xx, 400, 404, 405, 406, 409, 410, 413, 415, 422      | an `ApiResponse`: the endpoint's caller reads it    |
| 401, 403                                              | `Paused` (token); the token is read again           |
| 429                                                   | `Paused` (rate limit); the rate limiter learns      |
| 3xx, 407, 503, HTML where JSON belongs, no connection | `Paused` (outage): the request was not taken        |
| a lost response, 500, 502, 504, anything else         | `OutcomeUnknown` of a write, `Unanswered` of a read |

`judge` decides. The statuses are those of the public OpenAPI 3.1 document of Channable's order connection API
(2026-10).
"""

from collections.abc import Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, NamedTuple

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
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: _pause(PauseCause.OUTAGE, "the proxy wants a login ({detail})"),
}
_REDIRECT: Final = _pause(PauseCause.OUTAGE, "the API address sends us elsewhere: is api_url right? ({detail})")
_WEB_PAGE: Final = _pause(
    PauseCause.OUTAGE,
    "something answers with a web page: is api_url right, or is a proxy in the way? ({detail})",
)
_UNREACHABLE: Final = _pause(PauseCause.OUTAGE, "{host} cannot be reached: {detail}")
PROXY_FAILED: Final = _pause(PauseCause.OUTAGE, "{detail}")
"""The proxy made no connection: whether the API is well is not known."""


def judge(status: int | None, *, is_html: bool = False, sent: bool = True) -> Judgement:
    """Return what a response means, by its status (None: there was no response) and the form of its body.

    `sent` is whether the request's first byte may have left.
    """
    if status is None:
        return Judgement(Meaning.IN_DOUBT, None, "{host} does not answer: {detail}") if sent else _UNREACHABLE
    success = status // 100 == 2  # noqa: PLR2004 - HTTP's own meaning of 2xx
    # 413 may come from a proxy's own limit, as a web page: it is about this request all the same.
    is_html = is_html and status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if (success or status in _ABOUT_THE_REQUEST) and not is_html:
        return Judgement(Meaning.ANSWERED)
    if status in _PAUSES:
        return _PAUSES[status]
    if status // 100 == 3:  # noqa: PLR2004 - HTTP's own meaning of 3xx
        return _REDIRECT
    if is_html and status // 100 in {2, 4}:
        return _WEB_PAGE._replace(meaning=Meaning.IN_DOUBT) if success else _WEB_PAGE
    return Judgement(Meaning.IN_DOUBT, None, "{host} is in trouble: {detail}")
