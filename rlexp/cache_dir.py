"""Where rlexp keeps what it need not make, fetch or pay for twice."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$RLEXP_CACHE`, or else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("RLEXP_CACHE") or platformdirs.user_cache_dir("rlexp"))
