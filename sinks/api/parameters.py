"""The parameters that several routes have, and the selection they make."""

from typing import Annotated

from fastapi import Path, Query

from sinks.api.views import Moment
from sinks.queries.selection import LONGEST_NAME, MOST_NAMES

Devices = Annotated[
    list[str], Query(description="Device ids; several by repeating it.", max_length=MOST_NAMES)
]
Types = Annotated[list[str], Query(description="Types of devices.", max_length=MOST_NAMES)]
Places = Annotated[list[str], Query(description="Names of places.", max_length=MOST_NAMES)]
Metrics = Annotated[list[str], Query(description="Metrics.", max_length=MOST_NAMES)]
Kinds = Annotated[
    list[str], Query(description="Kinds of anomalies, as spike or drift.", max_length=MOST_NAMES)
]
Search = Annotated[
    str, Query(description="Text in id, name, type or place, whatever its case.", max_length=LONGEST_NAME)
]
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=8000)]
Begin = Annotated[
    Moment | None,
    Query(
        alias="from",
        description="Event time to begin at.",
        openapi_examples={"a time": {"value": "2026-03-01T12:00:00Z"}},
    ),
]
End = Annotated[Moment | None, Query(alias="to", description="Event time to end before.")]
DeviceId = Annotated[str, Path(description="Id of a device.", max_length=LONGEST_NAME)]
Metric = Annotated[str, Path(description="A metric of it.", max_length=LONGEST_NAME)]
