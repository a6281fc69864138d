"""POD, DMD and autoencoders on the same flow, compared by measurement."""

from __future__ import annotations

from sciml.modes.layout import Layout

__all__ = ["Layout"]
