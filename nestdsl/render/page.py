"""A web page with a picture in it, complete in one file."""

from __future__ import annotations

from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 1.5rem; font-family: Helvetica, Arial, sans-serif; color: #222222; background: white; }}
h1 {{ font-size: 1.1rem; }}
svg {{ display: block; margin: auto; max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
{svg}
</body>
</html>
"""


def page(title: str, svg: str) -> str:
    """An HTML page that shows `svg`, an `<svg>` element, and loads nothing from anywhere."""
    return _PAGE.format(title=escape(title), svg=svg)
