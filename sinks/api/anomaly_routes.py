"""/api/v1/anomalies, and /anomalies in moving-average-detector's shape."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.web.strict_json import StrictRoute
from sinks.api.answers import FOUND, READ, answer, not_found
from sinks.api.context import Api
from sinks.api.parameters import Begin, Cursor, Devices, End, Kinds, Metrics, Places, Search, Types
from sinks.api.views import EXAMPLE_ANOMALY, AnomaliesOut, AnomalyOut, with_example
from sinks.queries.anomalies import AnomalyRow, anomaly_of, anomaly_page
from sinks.queries.selection import Selection

Severities = Annotated[
    list[Literal["INFO", "WARNING", "CRITICAL"]], Query(alias="severity", description="Severities.")
]
States = Annotated[list[Literal["OPENED", "CLEARED"]], Query(alias="state", description="States.")]


class OldAnomaly(BaseModel):
    """As moving-average-detector shows one, with ours added."""

    model_config = ConfigDict(extra="allow")

    value: float | None
    timestamp: float = Field(description="Seconds since 1970 UTC.")
    mean: float | None
    std_dev: float | None
    anomaly_id: UUID
    device_id: str
    metric: str
    kind: str
    state: Literal["OPENED", "CLEARED"]
    severity: Literal["INFO", "WARNING", "CRITICAL"]
    reason: str


def anomaly_routes(api: Api) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["anomalies"])
    _add_list(routes, api)
    _add_one(routes, api)
    return routes


def _add_list(routes: APIRouter, api: Api) -> None:
    example = {"anomalies": [EXAMPLE_ANOMALY], "next": None}

    @routes.get(
        "/api/v1/anomalies", response_class=Response, responses=READ | with_example(AnomaliesOut, example)
    )
    def anomalies(
        request: Request,
        device: Devices = (),  # type: ignore[assignment]  # FastAPI makes lists
        type: Types = (),  # type: ignore[assignment]  # noqa: A002 - the parameter's name
        place: Places = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        kind: Kinds = (),  # type: ignore[assignment]
        severity: Severities = (),  # type: ignore[assignment]
        state: States = (),  # type: ignore[assignment]
        search: Search = "",
        begin: Begin = None,
        end: End = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Episodes, the newest first."""
        selection = Selection(
            devices=tuple(device),
            types=tuple(type),
            places=tuple(place),
            metrics=tuple(metric),
            kinds=tuple(kind),
            severities=tuple(severity),
            states=tuple(state),
            search=search,
            begin=begin,
            end=end,
        )
        with api.readers.connection() as connection:
            page = anomaly_page(connection, selection, limit, cursor)
        return answer(request, {"anomalies": page.rows, "next": page.next})


def _add_one(routes: APIRouter, api: Api) -> None:
    @routes.get(
        "/api/v1/anomalies/{anomaly_id}",
        response_class=Response,
        responses=FOUND | with_example(AnomalyOut, EXAMPLE_ANOMALY),
    )
    def anomaly(request: Request, anomaly_id: UUID) -> Response:
        """One episode."""
        with api.readers.connection() as connection:
            row = anomaly_of(connection, anomaly_id)
        if row is None:
            raise not_found(f"anomaly {anomaly_id}")
        return answer(request, row)

    @routes.get(
        "/anomalies",
        response_class=Response,
        responses=READ | with_example(list[OldAnomaly], [_old_example()]),  # type: ignore[arg-type]
    )
    def old_anomalies(
        request: Request,
        device: Devices = (),  # type: ignore[assignment]
        metric: Metrics = (),  # type: ignore[assignment]
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """The newest anomalies in the order of time, as moving-average-detector lists them, with ours added."""
        selection = Selection(devices=tuple(device), metrics=tuple(metric))
        with api.readers.connection() as connection:
            rows = anomaly_page(connection, selection, limit).rows
        return answer(request, [old_anomaly(row) for row in reversed(rows)])


def old_anomaly(row: AnomalyRow) -> dict[str, Any]:
    """An episode as moving-average-detector shows one: its most deviating reading, and what was usual."""
    return {
        "value": row.value,
        "timestamp": row.opened_at.timestamp(),
        "mean": row.mean,
        "std_dev": row.std,
        "anomaly_id": row.anomaly_id,
        "device_id": row.device_id,
        "metric": row.metric,
        "kind": row.kind,
        "state": row.state,
        "severity": row.severity,
        "reason": row.reason,
    }


def _old_example() -> dict[str, Any]:
    ours = ("anomaly_id", "device_id", "metric", "kind", "state", "severity", "reason")
    return {
        "value": 231.4,
        "timestamp": 1772366400.0,
        "mean": 205.1,
        "std_dev": 3.3,
        **{name: EXAMPLE_ANOMALY[name] for name in ours},
    }
