"""The font of charts, put into SVG files so that they look alike everywhere."""

from __future__ import annotations

import base64
import importlib.util
from functools import cache
from pathlib import Path

from kdcore.errors import KDLabError

FAMILY = "Source Sans"


def with_font(svg: bytes) -> bytes:
    """Return an SVG that holds the font of its texts (Source Sans, SIL Open Font License).

    Raises KDLabError where the dashboard's parts, which bring it, are not installed.
    """
    face = (
        f'<style>@font-face {{ font-family: "{FAMILY}"; font-weight: 200 900; '
        f"src: url(data:font/woff2;base64,{_font()}) }}</style>"
    )
    head, end, rest = svg.partition(b">")  # of the svg element, the first one
    return head + end + face.encode() + rest


@cache
def _font() -> str:
    spec = importlib.util.find_spec("streamlit")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    found = [] if folder is None else sorted(folder.glob("static/**/SourceSansVF-Upright*.woff2"))
    if not found:
        raise KDLabError("an SVG needs the font of the dashboard: install requirements.txt")
    return base64.b64encode(found[0].read_bytes()).decode()
