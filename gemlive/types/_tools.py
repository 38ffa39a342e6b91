"""Tools: what a session's setup offers to the model."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gemlive.types._base import Wire, duration, hidden


@attrs.frozen(kw_only=True, repr=False)
class FunctionDeclaration(Wire):
    """A function of the program that the model may ask for.

    Attributes:
        name: begins with a letter or an underscore, then letters, digits and ``_ . : -``; at most 128.
        description: what it does and when to use it; the model reads it.
        parameters: its parameters in the OpenAPI subset, with upper-case types.
        parameters_json_schema: its parameters as JSON Schema, instead of ``parameters``.
        response: its answer in the OpenAPI subset.
        response_json_schema: its answer as JSON Schema, instead of ``response``.
        behavior: a ``Behavior``. The default depends on the model: blocking on 2.5, non-blocking on 3.8
            (docs/protocol.md 3.4).
    """

    name: str | None = None
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    parameters_json_schema: object | None = None
    response: Mapping[str, object] | None = None
    response_json_schema: object | None = None
    behavior: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class WebSearch(Wire):
    """Searching for pages; has no settings."""


@attrs.frozen(kw_only=True, repr=False)
class ImageSearch(Wire):
    """Searching for images; has no settings."""


@attrs.frozen(kw_only=True, repr=False)
class SearchTypes(Wire):
    """What a search looks for; presence of a member switches it on.

    Attributes:
        web_search: pages.
        image_search: images.
    """

    web_search: WebSearch | None = None
    image_search: ImageSearch | None = None


@attrs.frozen(kw_only=True, repr=False)
class Interval(Wire):
    """A stretch of time.

    Attributes:
        start_time: RFC 3339 time, inclusive.
        end_time: RFC 3339 time, exclusive.
    """

    start_time: str | None = None
    end_time: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class GoogleSearch(Wire):
    """Answers rest on Google Search.

    Attributes:
        search_types: what to look for; None looks for pages.
        time_range_filter: only results from this stretch of time.
        exclude_domains: domains to leave out. Vertex AI only.
        blocking_confidence: a ``BlockingConfidence``. Vertex AI only.
    """

    search_types: SearchTypes | None = None
    time_range_filter: Interval | None = None
    exclude_domains: tuple[str, ...] | None = None
    blocking_confidence: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class DynamicRetrievalConfig(Wire):
    """When the model searches.

    Attributes:
        mode: a ``DynamicRetrievalMode``.
        dynamic_threshold: the score from 0 to 1 from which on it does.
    """

    mode: str | None = None
    dynamic_threshold: float | None = None


@attrs.frozen(kw_only=True, repr=False)
class GoogleSearchRetrieval(Wire):
    """The older form of :class:`GoogleSearch`.

    Attributes:
        dynamic_retrieval_config: when the model searches.
    """

    dynamic_retrieval_config: DynamicRetrievalConfig | None = None


@attrs.frozen(kw_only=True, repr=False)
class CodeExecution(Wire):
    """The server may run code that the model writes; has no settings."""


@attrs.frozen(kw_only=True, repr=False)
class UrlContextTool(Wire):
    """The model may read the pages whose addresses it is given; has no settings."""


@attrs.frozen(kw_only=True, repr=False)
class GoogleMaps(Wire):
    """Answers rest on Google Maps.

    Attributes:
        enable_widget: whether to send a token for showing a map.
        auth_config: how the server authenticates; free-form.
        grounding_types: what to look for (``places``, ``routing``); free-form.
    """

    enable_widget: bool | None = None
    auth_config: Mapping[str, object] | None = attrs.field(default=None, repr=hidden)
    grounding_types: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ComputerUse(Wire):
    """The model may operate a computer through calls of predefined functions.

    Attributes:
        environment: a ``ComputerEnvironment``.
        excluded_predefined_functions: functions that it may not use.
        enable_prompt_injection_detection: whether the screen is searched for instructions to the model.
        disabled_safety_policies: safety policies to switch off.
    """

    environment: str | None = None
    excluded_predefined_functions: tuple[str, ...] | None = None
    enable_prompt_injection_detection: bool | None = None
    disabled_safety_policies: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class FileSearch(Wire):
    """Answers rest on the program's files. Google AI only.

    Attributes:
        file_search_store_names: the stores to search (``fileSearchStores/x``).
        top_k: how many passages to find.
        metadata_filter: which files count.
    """

    file_search_store_names: tuple[str, ...] | None = None
    top_k: int | None = None
    metadata_filter: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class StreamableHttpTransport(Wire):
    """How the service reaches an MCP server.

    Attributes:
        url: its address.
        headers: HTTP headers to send, which may hold credentials.
        timeout_s: seconds a request may take.
        sse_read_timeout_s: seconds between two events of a stream.
        terminate_on_close: whether to end the MCP session at the end.
    """

    url: str | None = None
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=hidden)
    timeout_s: float | None = attrs.field(default=None, metadata=duration("timeout"))
    sse_read_timeout_s: float | None = attrs.field(default=None, metadata=duration("sseReadTimeout"))
    terminate_on_close: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class McpServer(Wire):
    """An MCP server whose tools the service itself calls. Google AI only.

    Attributes:
        name: a name to refer to it by.
        streamable_http_transport: how to reach it.
    """

    name: str | None = None
    streamable_http_transport: StreamableHttpTransport | None = None


@attrs.frozen(kw_only=True, repr=False)
class DataStoreSpec(Wire):
    """One of several data stores.

    Attributes:
        data_store: its resource name.
        filter: which documents count.
    """

    data_store: str | None = None
    filter: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class VertexAiSearch(Wire):
    """A Vertex AI Search data store or engine.

    Attributes:
        datastore: the data store's resource name.
        engine: the engine's resource name, instead of ``datastore``.
        data_store_specs: which of the engine's data stores to search.
        filter: which documents count.
        max_results: how many results to find.
    """

    datastore: str | None = None
    engine: str | None = None
    data_store_specs: tuple[DataStoreSpec, ...] | None = None
    filter: str | None = None
    max_results: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class Retrieval(Wire):
    """Answers rest on a corpus of the program's own. Vertex AI only.

    Attributes:
        vertex_ai_search: a Vertex AI Search data store.
        vertex_rag_store: a RAG corpus; free-form.
        external_api: another search service; free-form, may hold credentials.
        disable_attribution: deprecated.
    """

    vertex_ai_search: VertexAiSearch | None = None
    vertex_rag_store: Mapping[str, object] | None = None
    external_api: Mapping[str, object] | None = attrs.field(default=None, repr=hidden)
    disable_attribution: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class EnterpriseWebSearch(Wire):
    """Answers rest on web search with enterprise terms. Vertex AI only.

    Attributes:
        exclude_domains: domains to leave out.
        blocking_confidence: a ``BlockingConfidence``.
    """

    exclude_domains: tuple[str, ...] | None = None
    blocking_confidence: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class ParallelAiSearch(Wire):
    """Answers rest on Parallel's web search. Vertex AI only.

    Attributes:
        api_key: the key for that service. Secret.
        custom_configs: its settings; free-form.
        enable_data_retention: whether that service may keep the queries.
        enable_zero_data_retention: whether it must keep none.
    """

    api_key: str | None = attrs.field(default=None, repr=hidden)
    custom_configs: Mapping[str, object] | None = None
    enable_data_retention: bool | None = None
    enable_zero_data_retention: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ExaAiSearch(Wire):
    """Answers rest on Exa's web search. Vertex AI only.

    Attributes:
        api_key: the key for that service. Secret.
        custom_configs: its settings; free-form.
    """

    api_key: str | None = attrs.field(default=None, repr=hidden)
    custom_configs: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True, repr=False)
class Tool(Wire):
    """One tool, or a group of functions; one member is set in each.

    Attributes:
        function_declarations: functions of the program; at most 512.
        google_search: Google Search.
        google_search_retrieval: its older form.
        code_execution: running code that the model writes.
        url_context: reading pages.
        google_maps: Google Maps.
        computer_use: operating a computer.
        file_search: the program's files. Google AI only.
        mcp_servers: MCP servers that the service calls. Google AI only.
        retrieval: a corpus of the program's own. Vertex AI only.
        enterprise_web_search: web search with enterprise terms. Vertex AI only.
        parallel_ai_search: Parallel's web search. Vertex AI only.
        exa_ai_search: Exa's web search. Vertex AI only.
    """

    function_declarations: tuple[FunctionDeclaration, ...] | None = None
    google_search: GoogleSearch | None = None
    google_search_retrieval: GoogleSearchRetrieval | None = None
    code_execution: CodeExecution | None = None
    url_context: UrlContextTool | None = None
    google_maps: GoogleMaps | None = None
    computer_use: ComputerUse | None = None
    file_search: FileSearch | None = None
    mcp_servers: tuple[McpServer, ...] | None = None
    retrieval: Retrieval | None = None
    enterprise_web_search: EnterpriseWebSearch | None = None
    parallel_ai_search: ParallelAiSearch | None = None
    exa_ai_search: ExaAiSearch | None = None
