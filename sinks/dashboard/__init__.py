"""The dashboard: one page for people, and the JSON that it lives on.

- `mounting`  puts both on an app
- `sources`   what it is told by others: the database, a simulator's control, figures of processors and of quality
- `data`      answers to the page's questions, from `sinks.queries`
- `shapes`    rows as JSON; pure
- `watching`  how an injected fault is being caught; pure
- `warming`   which devices are still in their warm-up
- `sharing`   many tabs cost one query
- `files`     the page's files, and BokehJS out of Bokeh's wheel
- `page/`     HTML, CSS and JavaScript as browsers have it: nothing is built, nothing comes from elsewhere
"""

from sinks.dashboard.mounting import OPEN_PATHS, mount_dashboard
from sinks.dashboard.sources import (
    Control,
    DashboardSources,
    FaultQuality,
    PartitionFigures,
    PipelineFigures,
    QualityFigures,
)

__all__ = [
    "OPEN_PATHS",
    "Control",
    "DashboardSources",
    "FaultQuality",
    "PartitionFigures",
    "PipelineFigures",
    "QualityFigures",
    "mount_dashboard",
]
