"""The numbers behind stored bits: types that numpy has no name for, decoded without torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_FLOAT8 = {
    # exponent bits, bias, how infinity and NaN are written
    "float8_e4m3fn": (4, 7, "last"),
    "float8_e4m3fnuz": (4, 8, "minus zero"),
    "float8_e5m2": (5, 15, "ieee"),
    "float8_e5m2fnuz": (5, 16, "minus zero"),
}


def as_floats(stored: "np.ndarray", dtype: str) -> "np.ndarray | None":
    """The numbers of a stored tensor whose torch type is `dtype`: float32 at least, in its shape.

    None for what holds no real numbers with fractions (counts, indices, truth values, complex numbers).
    """
    import numpy as np

    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if dtype in _FLOAT8:
        return _table(*_FLOAT8[dtype])[stored]
    if dtype == "float8_e8m0fnu":
        return np.where(stored == 0xFF, np.nan, np.exp2(stored.astype(np.float64) - 127)).astype(np.float32)
    if stored.dtype.kind != "f":
        return None
    return stored.astype(np.float32) if stored.dtype.itemsize < 4 else stored


def _table(exponents: int, bias: int, special: str) -> "np.ndarray":
    """float32[256]: what each byte of a type of eight bits means."""
    import numpy as np

    code = np.arange(256)
    fractions = 7 - exponents
    exponent, fraction = (code >> fractions) & (2**exponents - 1), code & (2**fractions - 1)
    share = fraction / 2**fractions
    size = np.where(exponent == 0, np.exp2(1.0 - bias) * share, np.exp2(exponent - float(bias)) * (1 + share))
    value = np.where(code >= 128, -size, size)
    if special == "ieee":
        top = exponent == 2**exponents - 1
        value = np.where(top, np.where(fraction == 0, np.copysign(np.inf, value), np.nan), value)
    elif special == "last":
        value = np.where(code & 0x7F == 0x7F, np.nan, value)
    else:
        value = np.where(code == 0x80, np.nan, value)
    return value.astype(np.float32)
