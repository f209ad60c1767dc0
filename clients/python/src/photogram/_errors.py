"""The errors of this package.

PhotogramError              .request_id names the request in the server's log
├── ClientClosed            the client was closed before
├── ConnectionFailed        no response: the connection was refused, timed out, or broke
├── UnexpectedResponse      the response is not from Photogram
├── APIError                the server refused: .status .code .detail .problems .retry_after_s
│   ├── AuthenticationError     401: the key is missing or unknown
│   ├── PermissionDenied        403: the key may not do this
│   ├── NotFound                404: no such job, or it is gone
│   ├── Conflict                409: the id or idempotency key belongs to another request, or the job takes no input
│   ├── InvalidParams           422: .problems names each field
│   ├── NoProposal              422: the language model proposed no valid job
│   ├── TooManyRequests         429: retry after .retry_after_s
│   ├── ServiceUnavailable      503: retry after .retry_after_s
│   │   └── LanguageUnavailable     503: the server has no language model, or cannot reach it
│   └── ServerError             any other 5xx
├── JobFailed               the job ended without an image: .job.error says why
├── JobCanceled             the job was canceled before it had an image: .job
└── WaitTimeout             the job was not finished in time: .job is its last known state

Arguments that cannot be sent raise the built-in ValueError.
"""

from dataclasses import dataclass

from ._models import Job


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field, such as `params.width`."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error response: the server's problem document (RFC 9457), or a guess from the status line."""

    status: int
    code: str
    detail: str
    problems: tuple[FieldProblem, ...] = ()
    retry_after_s: float | None = None


class PhotogramError(Exception):
    """The root of this package's errors."""

    request_id: str | None = None
    """The `X-Request-ID` of the last request before the error, which the server's log and problem documents have too;
    None if nothing was sent."""


class ClientClosed(PhotogramError):
    """The client, or the HTTP client that it was given, has been closed."""


class ConnectionFailed(PhotogramError):
    """The server did not respond, even after retries."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no answer from {self.url}: {self.reason}"


class UnexpectedResponse(PhotogramError):
    """The response is not from Photogram, but from a proxy or another service on that port."""


class APIError(PhotogramError):
    """The server refused the request; its subclasses say what a caller can do about it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail
        self.problems = problem.problems
        self.retry_after_s = problem.retry_after_s

    def __str__(self) -> str:
        # The detail may already contain the problems of the fields.
        unmentioned = [text for text in map(str, self.problems) if text not in self.detail]
        return "; ".join([f"{self.detail} ({self.status} {self.code})", *unmentioned])


class AuthenticationError(APIError):
    """401: the API key is missing or unknown."""


class PermissionDenied(APIError):
    """403: this API key may not do that."""


class NotFound(APIError):
    """404: it does not exist, or has been deleted."""


class Conflict(APIError):
    """409: this id or idempotency key already belongs to a request with another body, or the job takes no input now."""


class InvalidParams(APIError):
    """422: the parameters are out of bounds; `.problems` names each field with a message."""


class NoProposal(APIError):
    """422: the language model proposed no valid job; another wording may help."""


class TooManyRequests(APIError):
    """429: too many requests or jobs for this key; `.retry_after_s` says when to come back."""


class ServiceUnavailable(APIError):
    """503: the server takes no job now; `.retry_after_s` says when to come back."""


class LanguageUnavailable(ServiceUnavailable):
    """503: the server has no language model, or cannot reach it; tried again only if the server says when."""


class ServerError(APIError):
    """500 and its kin: the server broke; asking for something else does not help."""


class _CarriesJob(PhotogramError):
    """Common ground of the errors that carry a job."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job


class JobFailed(_CarriesJob):
    """The job failed; `.job.error` holds the code and the message."""

    def __str__(self) -> str:
        reason = f"{self.job.error.message} ({self.job.error.code})" if self.job.error else "no reason was given"
        return f"job {self.job.id} failed: {reason}"


class JobCanceled(_CarriesJob):
    """The job was canceled before it had an image."""

    def __str__(self) -> str:
        return f"job {self.job.id} was canceled"


class WaitTimeout(_CarriesJob):
    """The job is still under way at the end of the time given; waiting again is allowed."""

    def __str__(self) -> str:
        return f"job {self.job.id} is still {self.job.status}"
