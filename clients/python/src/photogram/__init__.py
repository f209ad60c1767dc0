"""Python client of Photogram, the self-hosted image-generation service."""

from ._async_client import AsyncPhotogram
from ._client import Photogram
from ._errors import (
    APIError,
    AuthenticationError,
    Conflict,
    ConnectionFailed,
    FieldProblem,
    InvalidParams,
    JobCanceled,
    JobFailed,
    NotFound,
    PermissionDenied,
    PhotogramError,
    Problem,
    ServerError,
    ServiceUnavailable,
    TooManyRequests,
    UnexpectedResponse,
    WaitTimeout,
)
from ._events import Event, Previewed, Progressed, StatusChanged
from ._models import Failure, GeneratedImage, Image, Job, Model, Params, Progress, Result, Sampler, Timings
from ._pictures import Picture
from ._version import __version__

__all__ = [
    "APIError",
    "AsyncPhotogram",
    "AuthenticationError",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "Failure",
    "FieldProblem",
    "GeneratedImage",
    "Image",
    "InvalidParams",
    "Job",
    "JobCanceled",
    "JobFailed",
    "Model",
    "NotFound",
    "Params",
    "PermissionDenied",
    "Photogram",
    "PhotogramError",
    "Picture",
    "Previewed",
    "Problem",
    "Progress",
    "Progressed",
    "Result",
    "Sampler",
    "ServerError",
    "ServiceUnavailable",
    "StatusChanged",
    "Timings",
    "TooManyRequests",
    "UnexpectedResponse",
    "WaitTimeout",
    "__version__",
]
