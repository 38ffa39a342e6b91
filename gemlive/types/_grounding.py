"""What an answer rests on: searches, sources, pages read. Field names: google-genai 3.3.0 and recorded traffic."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gemlive.types._base import Wire, duration


@attrs.frozen(kw_only=True, repr=False)
class SearchResultMapping(Wire):
    """Which search result a source came from. Recorded, and unknown to google-genai 3.3.0.

    Attributes:
        result_index: counted from 0.
    """

    result_index: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingChunkWeb(Wire):
    """A web page.

    Attributes:
        uri: its address, often a redirect.
        title: its title.
        domain: its domain.
        snippet: an extract. Recorded, and unknown to google-genai 3.3.0.
        search_result_mapping: which search result it was. Recorded, and unknown to google-genai 3.3.0.
    """

    uri: str | None = None
    title: str | None = None
    domain: str | None = None
    snippet: str | None = None
    search_result_mapping: SearchResultMapping | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingChunkImage(Wire):
    """An image.

    Attributes:
        source_uri: the page it stands on.
        image_uri: the image's address.
        title: the page's title.
        domain: the page's domain.
    """

    source_uri: str | None = None
    image_uri: str | None = None
    title: str | None = None
    domain: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class MapsRoute(Wire):
    """A way from one place to another.

    Attributes:
        distance_meters: its length in metres.
        duration_s: seconds it takes.
        encoded_polyline: its course.
    """

    distance_meters: int | None = None
    duration_s: float | None = attrs.field(default=None, metadata=duration("duration"))
    encoded_polyline: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingChunkMaps(Wire):
    """A place.

    Attributes:
        uri: its address on the web.
        title: its name.
        text: what is said about it.
        place_id: its id in Google Maps.
        place_answer_sources: reviews; free-form.
        route: the way there.
    """

    uri: str | None = None
    title: str | None = None
    text: str | None = None
    place_id: str | None = None
    place_answer_sources: Mapping[str, object] | None = None
    route: MapsRoute | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingChunkRetrievedContext(Wire):
    """A passage from a corpus of the program's own.

    Attributes:
        uri: the document's address.
        title: its title.
        text: the passage.
        document_name: its resource name.
        rag_chunk: the passage with its place; free-form.
        custom_metadata: the document's metadata; free-form.
        file_search_store: the store it came from.
        page_number: its page.
        media_id: the medium it came from.
    """

    uri: str | None = None
    title: str | None = None
    text: str | None = None
    document_name: str | None = None
    rag_chunk: Mapping[str, object] | None = None
    custom_metadata: tuple[Mapping[str, object], ...] | None = None
    file_search_store: str | None = None
    page_number: int | None = None
    media_id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingChunk(Wire):
    """One source; one member is set beside ``reference_id``.

    Attributes:
        web: a web page.
        image: an image.
        maps: a place.
        retrieved_context: a passage from a corpus of the program's own.
        reference_id: a name for it. Recorded, and unknown to google-genai 3.3.0.
    """

    web: GroundingChunkWeb | None = None
    image: GroundingChunkImage | None = None
    maps: GroundingChunkMaps | None = None
    retrieved_context: GroundingChunkRetrievedContext | None = None
    reference_id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class Segment(Wire):
    """A stretch of the answer.

    Attributes:
        part_index: in which part, counted from 0; absent for 0.
        start_index: first byte of its UTF-8 text; absent for 0.
        end_index: the byte after the last.
        text: its text.
    """

    part_index: int | None = None
    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingSupport(Wire):
    """Which sources support a stretch of the answer.

    Attributes:
        segment: the stretch.
        grounding_chunk_indices: the sources, as indices into ``grounding_chunks``.
        confidence_scores: from 0 to 1, one for each source.
        rendered_parts: indices of the parts that show it.
        origin: where the support comes from. Recorded, and unknown to google-genai 3.3.0; kept as it comes.
    """

    segment: Segment | None = None
    grounding_chunk_indices: tuple[int, ...] | None = None
    confidence_scores: tuple[float, ...] | None = None
    rendered_parts: tuple[int, ...] | None = None
    origin: object | None = None


@attrs.frozen(kw_only=True, repr=False)
class SearchEntryPoint(Wire):
    """What must be shown beside a grounded answer.

    Attributes:
        rendered_content: HTML and CSS of search suggestions.
        sdk_blob: the same as JSON.
    """

    rendered_content: str | None = None
    sdk_blob: bytes | None = None


@attrs.frozen(kw_only=True, repr=False)
class RetrievalMetadata(Wire):
    """How the search was decided.

    Attributes:
        google_search_dynamic_retrieval_score: how likely a search was to help, from 0 to 1.
    """

    google_search_dynamic_retrieval_score: float | None = None


@attrs.frozen(kw_only=True, repr=False)
class SourceFlaggingUri(Wire):
    """Where to report a source.

    Attributes:
        source_id: the source.
        flag_content_uri: where to report it.
    """

    source_id: str | None = None
    flag_content_uri: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class GroundingMetadata(Wire):
    """What an answer rests on. Vertex AI attaches an empty one to every ``turnComplete``.

    Attributes:
        web_search_queries: what was searched for.
        image_search_queries: images that were searched for.
        retrieval_queries: what was looked up in a corpus.
        search_entry_point: what must be shown beside the answer.
        grounding_chunks: the sources.
        grounding_supports: which source supports what.
        retrieval_metadata: how the search was decided.
        google_maps_widget_context_token: for showing a map.
        source_flagging_uris: where to report sources.
    """

    web_search_queries: tuple[str, ...] | None = None
    image_search_queries: tuple[str, ...] | None = None
    retrieval_queries: tuple[str, ...] | None = None
    search_entry_point: SearchEntryPoint | None = None
    grounding_chunks: tuple[GroundingChunk, ...] | None = None
    grounding_supports: tuple[GroundingSupport, ...] | None = None
    retrieval_metadata: RetrievalMetadata | None = None
    google_maps_widget_context_token: str | None = None
    source_flagging_uris: tuple[SourceFlaggingUri, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class UrlMetadata(Wire):
    """A page that the model read, or tried to.

    Attributes:
        retrieved_url: its address.
        url_retrieval_status: a ``UrlRetrievalStatus``.
    """

    retrieved_url: str | None = None
    url_retrieval_status: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class UrlContextMetadata(Wire):
    """The pages that the model read.

    Attributes:
        url_metadata: one for each.
    """

    url_metadata: tuple[UrlMetadata, ...] | None = None
