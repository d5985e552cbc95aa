"""The digits of a number: as short as it is, with fixed decimals, as an exact decimal."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

SIGNIFICANT = 7
"""Digits of a number that is too small for its decimals."""
FLOAT_DIGITS = 15
"""Digits that every float has; the ones after them say nothing."""
CANCELLED = 1e-6
"""Sums of floats that come to less may have lost the digits that are shown."""


def short(value: float) -> str:
    """A given number, as short as it is: 0.5, 3, 1e-08."""
    text = repr(float(value))
    return text.removesuffix(".0")


def special(value: float) -> str:
    """NaN and the infinities as a page writes them."""
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def fixed(value: float, digits: int) -> str:
    """`value` with a fixed number of decimals, or with seven significant digits where that would
    leave less than half of the decimals significant. More digits than a float has are not shown."""
    if value - value != 0:
        return special(value)
    if value == 0:
        return f"{0:.{digits}f}"
    size = abs(value)
    if size < 1 and digits + 1 + math.floor(math.log10(size)) < digits / 2:
        places = max(SIGNIFICANT, (digits + 1) // 2) - 1
        return f"{value:.{places}e}"
    if size * 10.0**digits >= 10.0**FLOAT_DIGITS:
        if size >= 10.0**FLOAT_DIGITS:
            return f"{value:.{FLOAT_DIGITS - 1}e}"
        digits = FLOAT_DIGITS - 1 - math.floor(math.log10(size))
    text = f"{value:.{digits}f}"
    doubled = size * 2 * 10**digits
    if doubled == math.floor(doubled) and doubled % 2 == 1:
        with localcontext() as context:
            context.prec = 400
            text = f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP):f}"
    return text


def as_float(text: str) -> float:
    return float(Fraction(text)) if "/" in text else float(text.replace("∞", "inf"))


def as_decimal(text: str) -> Decimal:
    top, _, bottom = text.replace("∞", "Infinity").partition("/")
    return Decimal(top) / Decimal(bottom) if bottom else Decimal(top)


def finite_decimal(value: Fraction) -> str:
    """A fraction as a finite decimal, or nothing."""
    if not isinstance(value, Fraction):
        value = Fraction(value)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1 or max(twos, fives) > 40:
        return ""
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if value < 0 else text


def rounds_to(value: float, text: str) -> bool | None:
    """Whether a value rounds to `text`; None where floats cannot tell (near a tie, or where terms cancel)."""
    if value - value != 0 or (0 < abs(value) < CANCELLED):
        return None
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    scaled = value * 10.0**decimals
    if abs(scaled) > 1e14:
        return None
    distance = abs(abs(scaled) % 1.0 - 0.5)
    if distance < 1e-6 + abs(scaled) * 4e-15:
        return None
    return round(scaled) == round(float(mantissa) * 10.0 ** (decimals + int(exponent or 0)))
