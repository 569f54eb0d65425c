"""Scripts that are written without spaces between words."""

from typing import Final

# For the inside of a set in a pattern: Thai and Lao, Myanmar, Khmer, kana, ideographs.
UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
