"""/api/v1/readings: the readings themselves, however many, by pages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from schemas.web.strict_json import StrictRoute
from sinks.api.answers import READ, answer
from sinks.api.context import Api
from sinks.api.parameters import Begin, Cursor, Devices, End, Metrics, Places, Search, Types
from sinks.api.views import EXAMPLE_READING, ReadingsOut, with_example
from sinks.queries.readings import reading_page
from sinks.queries.selection import LARGEST_PAGE, Selection


def reading_routes(api: Api) -> APIRouter:
    """The route."""
    routes = APIRouter(route_class=StrictRoute, tags=["readings"])
    example = {"readings": [EXAMPLE_READING], "next": None}

    @routes.get(
        "/api/v1/readings", response_class=Response, responses=READ | with_example(ReadingsOut, example)
    )
    def readings(
        request: Request,
        device: Devices = (),  # type: ignore[assignment]  # FastAPI makes lists
        type: Types = (),  # type: ignore[assignment]  # noqa: A002 - the parameter's name
        place: Places = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        search: Search = "",
        begin: Begin = None,
        end: End = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 1000,
        cursor: Cursor = None,
    ) -> Response:
        """Readings one by one, the newest first, as `sigmawatch read` has them; for a diagram see /api/v1/series."""
        selection = Selection(
            devices=tuple(device),
            types=tuple(type),
            places=tuple(place),
            metrics=tuple(metric),
            search=search,
            begin=begin,
            end=end,
        )
        with api.readers.connection() as connection:
            page = reading_page(connection, selection, limit, cursor)
        return answer(request, {"readings": page.rows, "next": page.next})

    return routes
