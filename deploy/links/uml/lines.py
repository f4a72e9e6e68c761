"""A pipe from a guest: what comes through is handed on, or kept."""

from __future__ import annotations

import os
from typing import TextIO

_KEPT_BYTES = 65536


class Lines:
    """`end` is for the guest, and to be closed here once it has it; `source` is for reading."""

    def __init__(self, to: TextIO | None = None) -> None:
        self.source, self.end = os.pipe()
        self.text = b""  # the last of what was said, unless it is handed on
        self._to = to

    def hand_on(self) -> bool:
        """Reads what is there; False when there will be no more."""
        data = os.read(self.source, 65536)
        if self._to is None:
            self.text = (self.text + data)[-_KEPT_BYTES:]
        elif data:
            self._to.buffer.write(data)
            self._to.flush()
        return bool(data)

    def close(self) -> None:
        os.close(self.source)
