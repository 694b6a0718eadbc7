"""``examine``: what is wrong between a row of the configuration and the words of a model, step by step.

``examination`` has the order of the steps, ``finding`` what one of them tells. ``network`` looks as far as TLS,
``probe`` asks for documents, ``address`` and ``servers`` read them, ``conversation`` asks the model, ``verdicts`` judge
what it answered. Nothing here prints.
"""

from __future__ import annotations

from adapters.doctor.examination import examine
from adapters.doctor.finding import Finding

__all__ = ["Finding", "examine"]
