"""Diagnose a provider entry step by step, from its API key to its time to first text.

``examination`` holds the order of the steps and ``finding`` the result of one. ``network`` checks DNS, TCP and TLS,
``probe`` sends single GET requests, ``address`` and ``servers`` read the replies, ``conversation`` sends chat requests,
and ``verdicts`` judges the responses. Nothing in this package prints.
"""

from __future__ import annotations

from adapters.doctor.examination import examine
from adapters.doctor.finding import Finding

__all__ = ["Finding", "examine"]
