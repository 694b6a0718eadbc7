"""``adapters.types``: the sums of usages, and former names."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import LLMResponse, TokenUsage

_COUNTS = st.none() | st.integers(0, 10**6)
_USAGES = st.builds(
    TokenUsage,
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    cached_tokens=_COUNTS,
    reasoning_tokens=_COUNTS,
    cost=st.none() | st.decimals(0, 100, places=6),
)


@given(st.lists(_USAGES, min_size=1, max_size=5))
def test_a_sum_has_each_figure_that_all_parts_have(usages: list[TokenUsage]) -> None:
    """Each figure of a sum is the sum of that figure, or None if one part does not have it."""
    total = sum(usages[1:], usages[0])

    for name in TokenUsage.__slots__:
        parts = [getattr(usage, name) for usage in usages]
        assert getattr(total, name) == (None if None in parts else sum(parts)), name
    assert sum(usages) == total


def test_price_is_exact() -> None:
    """Prices are added as decimals: 0.1 and 0.2 are 0.3."""
    total = TokenUsage(1, 2, 3, 4, Decimal("0.1")) + TokenUsage(10, 20, 30, 40, Decimal("0.2"))

    assert total == TokenUsage(11, 22, 33, 44, Decimal("0.3"))


@pytest.mark.parametrize("other", [1, None, "1", (1, 2)])
def test_only_usages_can_be_added(other: object) -> None:
    """Adding anything else is a TypeError, also from the left."""
    usage = TokenUsage(1, 2)

    with pytest.raises(TypeError):
        _ = usage + other  # type: ignore[operator]  # the mistake
    with pytest.raises(TypeError):
        _ = other + usage  # type: ignore[operator]  # the mistake


def test_former_name_of_a_time() -> None:
    """``first_text_s`` is still there."""
    assert LLMResponse("Hi", time_to_first_text_s=0.25).first_text_s == 0.25
    assert LLMResponse(None).first_text_s is None
