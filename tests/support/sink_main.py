"""A database sink as a process of its own: `python -m tests.support.sink_main SETTINGS.json`."""

import json
import logging
import sys

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings
from sinks.service import serve, timescale_sink


def main() -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    serve(timescale_sink(load_settings(None, json.loads(sys.argv[1]), {}), Codec(Catalogue())))


if __name__ == "__main__":
    main()
