"""Python client of Photogram, the self-hosted image-generation service.

The functions of this module, such as `photogram.generate`, are the methods of one client that is made from the
environment (`PHOTOGRAM_URL`, `PHOTOGRAM_API_KEY`) at their first use.
"""

from typing import TYPE_CHECKING

from ._async_client import AsyncPhotogram
from ._async_handles import AsyncGeneratedImage, AsyncJobHandle
from ._async_jobs import AsyncJobs
from ._async_keys import AsyncKeys
from ._async_webhooks import AsyncWebhooks
from ._client import Photogram
from ._default import SHARED, default_client
from ._errors import (
    APIError,
    AuthenticationError,
    ClientClosed,
    Conflict,
    ConnectionFailed,
    FieldProblem,
    InvalidParams,
    JobCanceled,
    JobFailed,
    LanguageUnavailable,
    NoProposal,
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
from ._events import Event, Loading, Noted, Previewed, Progressed, Queued, Rewritten, StatusChanged
from ._filters import JobFilters
from ._handles import GeneratedImage, JobHandle
from ._images import ImageSource
from ._jobs import Jobs
from ._key_models import ApiKey, KeyRules, NewKey
from ._keys import Keys
from ._language import Proposal, RewriteOptions, RewrittenPrompt, TokenCount, ToolCall
from ._models import (
    BatchItem,
    Capability,
    Check,
    Deletion,
    DownloadedImage,
    Estimate,
    Failure,
    File,
    Image,
    Job,
    Lora,
    Model,
    OwnImage,
    PeriodUsage,
    Progress,
    Question,
    QueueCount,
    QueuePlace,
    Readiness,
    Refusal,
    Result,
    Rewrite,
    Safety,
    Sampler,
    ServerInfo,
    Style,
    Timings,
    UploadedArchive,
    UploadedImage,
    Upscaler,
    Usage,
)
from ._params import (
    ClassifyParams,
    ControlParams,
    DescribeModelParams,
    EditParams,
    EmbedParams,
    FaceRestoreParams,
    JobOptions,
    LoraParams,
    MaskParams,
    Params,
    RefinerParams,
    SecondPassParams,
    SimilarityParams,
    UpscaleParams,
    VariationParams,
)
from ._provenance import Action, Manifest, Provenance, Watermark
from ._searching import DuplicateGroup, Duplicates, FoundImage
from ._version import __version__
from ._webhook_calls import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from ._webhooks import Webhooks
from .webhooks import WebhookEvent, WebhookRefused

if TYPE_CHECKING:
    _client = Photogram()
    agent = _client.agent
    assist = _client.assist
    capabilities = _client.capabilities
    classify = _client.classify
    delete_image = _client.delete_image
    deploy = _client.deploy
    describe_model = _client.describe_model
    download = _client.download
    download_file = _client.download_file
    download_image = _client.download_image
    dry_run = _client.dry_run
    dry_run_kind = _client.dry_run_kind
    duplicate_images = _client.duplicate_images
    edit = _client.edit
    embed = _client.embed
    face_restore = _client.face_restore
    finetune = _client.finetune
    generate = _client.generate
    images = _client.images
    inpaint = _client.inpaint
    jobs = _client.jobs
    keys = _client.keys
    loras = _client.loras
    models = _client.models
    readiness = _client.readiness
    rewrite = _client.rewrite
    samplers = _client.samplers
    search_images = _client.search_images
    server_info = _client.server_info
    similarity = _client.similarity
    stream_rewrite = _client.stream_rewrite
    styles = _client.styles
    submit = _client.submit
    submit_batch = _client.submit_batch
    submit_kind = _client.submit_kind
    upload = _client.upload
    upload_archive = _client.upload_archive
    upscale = _client.upscale
    upscalers = _client.upscalers
    usage = _client.usage
    verify_provenance = _client.verify_provenance
    with_options = _client.with_options

__all__ = [
    "APIError",
    "Action",
    "ApiKey",
    "AsyncGeneratedImage",
    "AsyncJobHandle",
    "AsyncJobs",
    "AsyncKeys",
    "AsyncPhotogram",
    "AsyncWebhooks",
    "AuthenticationError",
    "BatchItem",
    "Capability",
    "Check",
    "ClassifyParams",
    "ClientClosed",
    "Conflict",
    "ConnectionFailed",
    "ControlParams",
    "Deletion",
    "DescribeModelParams",
    "DownloadedImage",
    "DuplicateGroup",
    "Duplicates",
    "EditParams",
    "EmbedParams",
    "Estimate",
    "Event",
    "FaceRestoreParams",
    "Failure",
    "FieldProblem",
    "File",
    "FoundImage",
    "GeneratedImage",
    "Image",
    "ImageSource",
    "InvalidParams",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobFilters",
    "JobHandle",
    "JobOptions",
    "Jobs",
    "KeyRules",
    "Keys",
    "LanguageUnavailable",
    "Loading",
    "Lora",
    "LoraParams",
    "Manifest",
    "MaskParams",
    "Model",
    "NewKey",
    "NoProposal",
    "NotFound",
    "Noted",
    "OwnImage",
    "Params",
    "PeriodUsage",
    "PermissionDenied",
    "Photogram",
    "PhotogramError",
    "Previewed",
    "Problem",
    "Progress",
    "Progressed",
    "Proposal",
    "Provenance",
    "Question",
    "QueueCount",
    "QueuePlace",
    "Queued",
    "Readiness",
    "RefinerParams",
    "Refusal",
    "Result",
    "Rewrite",
    "RewriteOptions",
    "Rewritten",
    "RewrittenPrompt",
    "Safety",
    "Sampler",
    "SecondPassParams",
    "ServerError",
    "ServerInfo",
    "ServiceUnavailable",
    "SimilarityParams",
    "StatusChanged",
    "Style",
    "Timings",
    "TokenCount",
    "TooManyRequests",
    "ToolCall",
    "UnexpectedResponse",
    "UploadedArchive",
    "UploadedImage",
    "UpscaleParams",
    "Upscaler",
    "Usage",
    "VariationParams",
    "WaitTimeout",
    "Watermark",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookRefused",
    "Webhooks",
    "__version__",
    "agent",
    "assist",
    "capabilities",
    "classify",
    "delete_image",
    "deploy",
    "describe_model",
    "download",
    "download_file",
    "download_image",
    "dry_run",
    "dry_run_kind",
    "duplicate_images",
    "edit",
    "embed",
    "face_restore",
    "finetune",
    "generate",
    "images",
    "inpaint",
    "jobs",
    "keys",
    "loras",
    "models",
    "readiness",
    "rewrite",
    "samplers",
    "search_images",
    "server_info",
    "similarity",
    "stream_rewrite",
    "styles",
    "submit",
    "submit_batch",
    "submit_kind",
    "upload",
    "upload_archive",
    "upscale",
    "upscalers",
    "usage",
    "verify_provenance",
    "with_options",
]


def __getattr__(name: str) -> object:
    if name in SHARED:
        return getattr(default_client(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
