"""What the README's figures come from."""

import models  # noqa: F401  # keeps torchvision out before diffusers is imported
