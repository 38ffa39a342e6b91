"""How many tokens a turn took."""

from __future__ import annotations

import attrs

from gemlive.types._base import Wire


@attrs.frozen(kw_only=True, repr=False)
class ModalityTokenCount(Wire):
    """Tokens of one modality.

    Attributes:
        modality: a ``Modality``.
        token_count: tokens; absent for 0.
    """

    modality: str | None = None
    token_count: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class BilledToolCall(Wire):
    """Calls of a tool that are billed. Recorded, and unknown to google-genai 3.3.0.

    Attributes:
        tool: which tool.
        search_query_count: how many searches.
    """

    tool: str | None = None
    search_query_count: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class UsageMetadata(Wire):
    """Token counts of one turn; the history is counted again in each turn. Details need not sum to the total.

    The two backends name the answer's tokens differently; both names are kept as they come.

    Attributes:
        prompt_token_count: tokens of everything the model read.
        cached_content_token_count: how many of them came from a cache.
        response_token_count: tokens of the answer. Google AI.
        candidates_token_count: tokens of the answer. Vertex AI.
        tool_use_prompt_token_count: tokens of tool results.
        thoughts_token_count: tokens of thinking; may lie outside the total.
        total_token_count: the sum that the service bills by.
        prompt_tokens_details: ``prompt_token_count`` by modality.
        cache_tokens_details: ``cached_content_token_count`` by modality.
        response_tokens_details: ``response_token_count`` by modality. Google AI.
        candidates_tokens_details: ``candidates_token_count`` by modality. Vertex AI.
        tool_use_prompt_tokens_details: ``tool_use_prompt_token_count`` by modality.
        traffic_type: a ``TrafficType``. Vertex AI.
        service_tier: a ``ServiceTier``. Google AI.
        billed_tool_calls: calls of tools that are billed.
    """

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    response_token_count: int | None = None
    candidates_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    thoughts_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: tuple[ModalityTokenCount, ...] | None = None
    cache_tokens_details: tuple[ModalityTokenCount, ...] | None = None
    response_tokens_details: tuple[ModalityTokenCount, ...] | None = None
    candidates_tokens_details: tuple[ModalityTokenCount, ...] | None = None
    tool_use_prompt_tokens_details: tuple[ModalityTokenCount, ...] | None = None
    traffic_type: str | None = None
    service_tier: str | None = None
    billed_tool_calls: tuple[BilledToolCall, ...] | None = None
