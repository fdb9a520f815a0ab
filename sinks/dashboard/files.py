"""The page's files as they go out: ours from `page/`, BokehJS out of Bokeh's wheel."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bokeh.util.paths import bokehjs_path

_PAGE = Path(__file__).parent / "page"
_LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
_PACKED_BYTES = 2_000

mimetypes.add_type(
    "text/javascript", ".js"
)  # some systems' tables say otherwise, and browsers then refuse modules


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file: its bytes, plain and by gzip; `lasting` where its name changes with its content."""

    plain: bytes
    packed: bytes | None
    media_type: str
    etag: str
    lasting: bool = False


def library_name() -> str:
    """The folder of BokehJS as the page calls it: with its version, so that browsers may keep it."""
    return f"bokeh-{version('bokeh')}"


@cache
def page_files() -> dict[str, PageFile]:
    """Path below /dashboard/static -> file; read once. `index.html` is the page itself."""
    files = {path.name: _file(path) for path in sorted(_PAGE.iterdir()) if path.is_file()}
    folder = bokehjs_path() / "js"
    files |= {f"{library_name()}/{name}": _file(folder / name, lasting=True) for name in _LIBRARY}
    return files


def _file(path: Path, *, lasting: bool = False) -> PageFile:
    plain = (
        path.read_bytes().replace(b"{{library}}", library_name().encode())
        if not lasting
        else path.read_bytes()
    )
    packed = gzip.compress(plain, 6, mtime=0) if len(plain) > _PACKED_BYTES else None
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    etag = f'"{hashlib.blake2b(plain, digest_size=12).hexdigest()}"'
    return PageFile(plain, packed, media_type, etag, lasting)
