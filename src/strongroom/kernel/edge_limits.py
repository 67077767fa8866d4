"""Every bound of callers, their credentials and the edge, each with its reason."""

from __future__ import annotations
