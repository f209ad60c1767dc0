"""What can be asked, drawn, seen and written: the models and the nouns of work.

torchvision is kept out of this process until timm needs it: diffusers and transformers import it wherever it is
installed, which takes seconds, and fails beside a torch of another build. ``models.vision.timm_import`` lets it in.
"""

import sys

sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]  # as if it were not installed
