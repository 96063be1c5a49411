"""Curves as a picture: a plain SVG, for which nothing needs to be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 16, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#7f7f7f", "#cc79a7", "#b8860b", "#56b4e9", "#000000")
"""Told apart by most people who confuse colours."""


def drawn(curves: Mapping[str, Sequence[float]], lowest: float, highest: float, across: str, up: str) -> str:
    """The SVG of curves over 1, 2, 3 …, cut off above `highest`; each is named where it ends."""
    length = max(len(curve) for curve in curves.values())
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: float) -> float:
        return LEFT + wide * step / length

    def y(value: float) -> float:
        return TOP + high * (highest - value) / (highest - lowest)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}"/></clipPath>',
    ]
    for value in _marks(lowest, highest, 0.5):
        parts.append(f'<path d="M{LEFT} {y(value):.1f}h{wide}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for step in _marks(0, length, length / 4):
        parts.append(f'<text x="{x(step):.1f}" y="{TOP + high + 18}" text-anchor="middle">{step:g}</text>')
    middle = TOP + high / 2
    parts += [
        f'<path d="M{LEFT} {TOP}v{high}h{wide}" fill="none" stroke="#333333"/>',
        f'<text x="{LEFT + wide / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{escape(up)}</text>',
    ]
    heights = _apart({name: y(curve[-1]) for name, curve in curves.items()}, 15.0)
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(curve, 1))
        end = x(len(curve))
        parts += [
            f'<polyline points="{points}" clip-path="url(#inside)" fill="none" stroke="{colour}" '
            'stroke-width="1.8"/>',
            f'<path d="M{end:.1f} {y(curve[-1]):.1f}L{end + 10:.1f} {heights[name]:.1f}" stroke="{colour}"/>',
            f'<text x="{end + 14:.1f}" y="{heights[name] + 4:.1f}" fill="{colour}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _marks(first: float, last: float, apart: float) -> list[float]:
    count = int((last - first) / apart + 1e-9)
    return [first + apart * number for number in range(count + 1)]


def _apart(heights: Mapping[str, float], least: float) -> dict[str, float]:
    """Heights moved so that names do not cover one another, in their order; none lies below the picture."""
    placed: dict[str, float] = {}
    below = HEIGHT - BOTTOM
    for name in sorted(heights, key=lambda one: -heights[one]):
        placed[name] = below = min(heights[name], below)
        below -= least
    return placed
