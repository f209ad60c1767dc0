"""The safety policy of jobs: the images that they start from are scored before, those that they make before storing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from PIL import ImageFilter
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.errors import ContentRefused, JobFailure, SafetyUnavailable
from models.jobs.kinds import resolve
from models.jobs.parameters import sources
from models.jobs.records import JobRecord
from models.jobs.results import JobOutput
from models.jobs.safety import BLUR, OFF, OPEN, REFUSE, TAG, SafetyResult
from models.vision.safety import OPEN_NSFW, Classifier, open_nsfw, timm_classifier
from service.backbone.settings import Settings, SettingsError

log = logging.getLogger(__name__)

BLUR_SHARE = 1 / 16
"""The standard deviation of the blur, as a share of the longer side: no shape is left."""

Hook = Callable[[Image], "str | None"]
"""An operator's own check, such as a list of hashes: why an image is refused, or ``None``."""


@dataclass(frozen=True)
class _Scores:
    values: tuple[float, ...]
    problem: str | None = None


class Safety:
    """Scores images by the classifier that the settings name, which is loaded when the first image needs it.

    Its methods may be called from any thread.

    Args:
        catalog: returns the catalog of now.

    Raises:
        SettingsError: the hook that the settings name cannot be imported.
    """

    def __init__(self, settings: Settings, catalog: Callable[[], Catalog]) -> None:
        self._settings, self._catalog = settings, catalog
        self._hook = None if settings.safety_hook is None else _imported(settings.safety_hook)
        self._classifier: Classifier | None = None
        self._lock = threading.Lock()
        if settings.safety != OFF:
            log.info("safety policy %s by %s; it fails %s", settings.safety, self.name, settings.safety_fails)

    @property
    def name(self) -> str:
        """The name of the classifier."""
        return self._settings.safety_model or OPEN_NSFW

    def check_inputs(self, record: JobRecord, images: Mapping[str, Image]) -> None:
        """Raise :class:`ContentRefused` if an image that the job starts from is refused; masks are not looked at.

        Raises:
            SafetyUnavailable: the images cannot be scored, and the server fails closed.
        """
        policy, params = record.safety_policy, record.params
        for path, source, role in sources(params.declaration, params):
            if role == "mask" or source not in images:
                continue
            self._ask_hook(images[source], path)
            if policy in (BLUR, REFUSE):
                for score in self._scores([images[source]]).values:
                    if self._is_unsafe(score):
                        raise ContentRefused(_refusal(score, self._settings.safety_threshold), path)

    def apply(self, record: JobRecord, output: JobOutput) -> tuple[JobOutput, SafetyResult | None]:
        """The output as it may be stored, and what the record says of it; ``None`` without a policy.

        Raises:
            ContentRefused: an image is refused.
            SafetyUnavailable: the images cannot be scored, and the server fails closed.
        """
        for image in output.images:
            self._ask_hook(image, None)
        policy = record.safety_policy
        if policy == OFF or not output.images:
            return output, None
        found = self._scores(list(output.images))
        flagged = tuple(self._is_unsafe(score) for score in found.values)
        result = SafetyResult(
            policy=policy, classifier=self.name, scores=found.values, flagged=flagged, problem=found.problem
        )
        if policy == TAG or not any(flagged):
            return output, result
        if policy == REFUSE:
            raise ContentRefused(_refusal(max(found.values), self._settings.safety_threshold))
        images = tuple(
            _blurred(image) if is_unsafe else image for image, is_unsafe in zip(output.images, flagged, strict=True)
        )
        return replace(output, images=images), result

    def _is_unsafe(self, score: float) -> bool:
        return score >= self._settings.safety_threshold

    def _ask_hook(self, image: Image, field: str | None) -> None:
        reason = None if self._hook is None else self._hook(image)
        if reason is not None:
            raise ContentRefused(f"the image is refused: {reason}", field)

    def _scores(self, images: list[Image]) -> _Scores:
        try:
            classifier = self._loaded()
            return _Scores(tuple(round(classifier(image), 4) for image in images))
        except Exception as error:  # the classifier is a library's
            reason = str(error) if isinstance(error, JobFailure) else "the classifier failed; the log has details"
            log.error(
                "images could not be scored, the safety policy fails %s", self._settings.safety_fails, exc_info=error
            )
            if self._settings.safety_fails == OPEN:
                return _Scores((), reason)
            raise SafetyUnavailable(f"the images of the job cannot be scored: {reason}") from error

    def _loaded(self) -> Classifier:
        with self._lock:
            if self._classifier is None:
                self._classifier = self._load()
            return self._classifier

    def _load(self) -> Classifier:
        name = self._settings.safety_model
        if name is None:
            return open_nsfw()
        spec = self._catalog().vision.resolve(name)
        if spec is None:
            raise SafetyUnavailable(f"the vision model {name!r} of the safety policy is not in the catalog")
        return timm_classifier(spec, self._settings.safety_labels)


def _imported(path: str) -> Hook:
    try:
        hook: Hook = resolve(path)
    except Exception as error:  # the module may raise anything
        raise SettingsError(f"PHOTOGRAM_SAFETY_HOOK: {path!r} cannot be imported: {error!r}") from error
    return hook


def _blurred(image: Image) -> Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * BLUR_SHARE))


def _refusal(score: float, threshold: float) -> str:
    return f"the safety policy refuses the image: its score is {score:g}, and the limit {threshold:g}"
