"""The bodies and answers about progress."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.sdapi.schemas import TASK_ID_MAX_CHARS, SdBody


class StateView(BaseModel):
    """The state of the oldest running call."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(default=0, description="The number of images of the call; 0 if no call is running.")
    job_timestamp: str = "0"
    job_no: int = Field(default=0, description="The number of images that have finished.")
    sampling_step: int = 0
    sampling_steps: int = 0


class SdProgressView(BaseModel):
    """The progress of the oldest running call of the API key."""

    progress: float = Field(default=0, description="0 to 1; 0 if no call is running.")
    eta_relative: float = Field(default=0, description="Estimated seconds until the end.")
    state: StateView = StateView()
    current_image: str | None = Field(default=None, description="A preview in Base64, without a `data:` prefix.")
    textinfo: str | None = Field(default=None, description="What is being loaded before the first step.")
    current_task: str | None = None


class TaskBody(SdBody):
    """The call whose progress is requested."""

    id_task: str = Field(max_length=TASK_ID_MAX_CHARS, description="The `force_task_id` of the call.")
    id_live_preview: int = Field(-1, description="The `id_live_preview` of the preview that the client has.")
    live_preview: bool = True


class TaskView(BaseModel):
    """The progress of one call."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = Field(default=None, description="A preview as a `data:` URL.")
    id_live_preview: int = -1
    textinfo: str | None = None
