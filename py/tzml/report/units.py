"""Figures in a form that is easy to read."""

from __future__ import annotations

from collections.abc import Iterable

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((1024.0 * 1024, "MiB"), (1024.0, "KiB"), (1.0, "bytes")),
    "ratio": ((1.0, "×"),),  # noqa: RUF001
}
NONE = "–"  # noqa: RUF001 (shown if there is no figure)


def scale_for(values: Iterable[float], unit: str) -> tuple[float, str]:
    """The divisor for these values and the name of the resulting unit: 0.02 s is shown as 20 ms."""
    largest = max((abs(value) for value in values), default=0.0)
    scales = _SCALES[unit]
    return next((scale for scale in scales if largest >= scale[0]), scales[-1] if largest else scales[0])


def human(value: float, unit: str) -> str:
    """A value with its unit, such as "20.1 ms"."""
    factor, name = scale_for([value], unit)
    scaled = value / factor
    digits = 0 if name == "bytes" else max(0, 2 - len(f"{abs(scaled):.0f}") + 1)
    return f"{scaled:.{digits}f} {name}"


def duration(seconds: float) -> str:
    """A time that people wait, such as "21 min 4 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent(relative: float | None) -> str:
    """A relative change, such as "+3.1 %"; NONE if there is no figure."""
    return NONE if relative is None else f"{relative:+.1%}".replace("%", " %")
