"""Training code: it needs a checkout of the repository and is not part of the installed package."""

import models  # noqa: F401  # keeps torchvision out before diffusers is imported
