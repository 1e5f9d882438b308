"""Property tests leave no files behind and have no deadline on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tidy", database=None, deadline=None)
settings.load_profile("tidy")
