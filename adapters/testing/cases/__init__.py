"""The wire cases, a module a topic; ``TOPICS`` names them and ``CASES`` holds them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.cases import (
    characters,
    content_types,
    cut_calls,
    dialects,
    endings,
    error_answers,
    error_classes,
    error_events,
    finish_reasons,
    framing,
    groq,
    history,
    http_errors,
    http_refusals,
    leaked_calls,
    lookalikes,
    reasoning,
    refused_images,
    refused_parameters,
    refused_tools,
    refused_values,
    requests,
    retries,
    retry_after,
    thin_clones,
    timing,
    tool_arguments,
    tool_calls,
    tool_streams,
    transport,
    turns,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.testing.case import WireCase

_MODULES = (
    framing,
    characters,
    transport,
    content_types,
    endings,
    finish_reasons,
    thin_clones,
    usage,
    error_answers,
    error_classes,
    error_events,
    http_errors,
    http_refusals,
    retry_after,
    retries,
    tool_arguments,
    tool_calls,
    tool_streams,
    cut_calls,
    dialects,
    leaked_calls,
    lookalikes,
    turns,
    groq,
    refused_tools,
    refused_values,
    refused_parameters,
    refused_images,
    reasoning,
    requests,
    history,
    timing,
)

TOPICS: Final[Mapping[str, tuple[WireCase, ...]]] = {
    module.__name__.rpartition(".")[2]: module.CASES for module in _MODULES
}
"""All cases by topic."""

CASES: Final[tuple[WireCase, ...]] = tuple(case for cases in TOPICS.values() for case in cases)
"""All cases."""
