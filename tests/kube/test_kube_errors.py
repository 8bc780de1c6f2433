"""Answers become errors of our own."""

import pytest

from runner.kube.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    error_from_answer,
    error_from_status,
    parse_retry_after,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, KubeError),
        (408, UnavailableError),
        (409, ConflictError),
        (410, GoneError),
        (413, KubeError),
        (415, KubeError),
        (422, InvalidError),
        (429, TooManyRequestsError),
        (500, UnavailableError),
        (501, KubeError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[KubeError]) -> None:
    """The class follows the HTTP status, whatever the body says."""
    body = b'{"kind":"Status","reason":"R","message":"the words","code":499}'
    error = error_from_answer(status, body, subject="Cannot get pods a/b")
    assert (type(error), error.status, error.reason) == (kind, status, "R")
    assert str(error) == f"Cannot get pods a/b: the words ({status} R)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "S: the server gave no message (502)", id="empty"),
        pytest.param(b"<html>\n<h1>Bad Gateway</h1>", "S: <html> (502)", id="a page"),
        pytest.param(b"[]", "S: the server gave no message (502)", id="a list"),
        pytest.param(
            b'{"message":null,"reason":7,"details":[]}', "S: the server gave no message (502)", id="odd types"
        ),
        pytest.param(b"\xff\xfe", "S: \ufffd\ufffd (502)", id="bytes"),
    ],
)
def test_a_body_that_is_no_status_is_tolerated(body: bytes, message: str) -> None:
    """A proxy's answer still gives an error with the right class and a sentence."""
    error = error_from_answer(502, body, subject="S")
    assert (type(error), str(error)) == (UnavailableError, message)


def test_a_long_message_is_cut() -> None:
    """An error's sentence is bounded, whatever a server sends."""
    assert len(str(error_from_status({"message": "x" * 10_000, "code": 422}, subject="S"))) < 2100


def test_the_words_about_a_secret_are_left_out() -> None:
    """An API server that cannot read a manifest may quote it."""
    body = b'{"reason":"BadRequest","message":"cannot parse ...|password: hunter2|..."}'
    error = error_from_answer(400, body, subject="Cannot create secrets a/b", withhold=True)
    assert "hunter2" not in str(error)
    assert error.reason == "BadRequest"


@pytest.mark.parametrize(
    ("message", "quota"),
    [
        pytest.param(
            'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5',
            True,
            id="quota",
        ),
        pytest.param('pods "x" is forbidden: failed quota: q: must specify limits.cpu', False, id="never fits"),
        pytest.param("User cannot create resource pods", False, id="no right"),
    ],
)
def test_a_used_up_quota_is_told_from_a_missing_right(message: str, quota: bool) -> None:
    """Only the first can pass with time."""
    error = error_from_status({"code": 403, "reason": "Forbidden", "message": message}, subject="S")
    assert isinstance(error, ForbiddenError)
    assert error.quota is quota


@pytest.mark.parametrize(("reason", "taken"), [("AlreadyExists", True), ("Conflict", False)])
def test_a_taken_name_is_told_from_other_conflicts(reason: str, taken: bool) -> None:
    """A precondition that failed is a conflict too."""
    error = error_from_status({"code": 409, "reason": reason}, subject="S")
    assert isinstance(error, ConflictError)
    assert error.already_exists is taken


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param({"code": 410, "reason": "Expired"}, GoneError, id="code"),
        pytest.param({"reason": "Expired"}, GoneError, id="reason alone"),
        pytest.param({"reason": "NotFound"}, NotFoundError, id="another reason alone"),
        pytest.param({}, UnavailableError, id="nothing"),
        pytest.param(None, UnavailableError, id="no object"),
        pytest.param({"code": True}, UnavailableError, id="odd code"),
    ],
)
def test_a_status_object_alone_gives_the_class(status: object, kind: type[KubeError]) -> None:
    """A watch's ERROR event and an error channel have no HTTP status."""
    assert type(error_from_status(status, subject="S")) is kind


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        pytest.param("7", None, 7.0, id="header"),
        pytest.param("", {"retryAfterSeconds": 3}, 3.0, id="details"),
        pytest.param("7", {"retryAfterSeconds": 3}, 7.0, id="the header wins"),
        pytest.param("", {"retryAfterSeconds": "x"}, None, id="nonsense"),
        pytest.param("", None, None, id="none"),
    ],
)
def test_retry_after_is_taken_from_header_or_status(
    header: str, details: dict[str, object] | None, seconds: float | None
) -> None:
    """Both places are in use."""
    error = error_from_status({"details": details}, subject="S", status=429, retry_after=header)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("12", 12.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("Fri, 01 Jan 2027 00:00:00 GMT", None),
        ("٣", None),
    ],
)
def test_parse_retry_after_reads_seconds_alone(text: str, seconds: float | None) -> None:
    """Kubernetes sends whole seconds; a date from a proxy is not worth a clock."""
    assert parse_retry_after(text) == seconds


def test_no_error_is_of_another_library() -> None:
    """Who catches aiohttp's or kubernetes_asyncio's errors does not catch ours by accident."""
    for kind in (KubeError, UnavailableError, TooManyRequestsError):
        assert [
            base.__module__
            for base in kind.__mro__
            if base.__module__.split(".")[0] in {"aiohttp", "kubernetes_asyncio"}
        ] == []
    assert not issubclass(KubeError, OSError)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (UnavailableError("m"), True),
        (UnavailableError("m", sent=False), False),
        (TooManyRequestsError("m"), False),
    ],
)
def test_unavailable_says_whether_the_request_may_have_arrived(error: UnavailableError, sent: bool) -> None:
    """Without knowledge, yes."""
    assert error.sent is sent
