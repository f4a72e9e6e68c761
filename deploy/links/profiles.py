"""Links of common networks by name: the files of deploy/profiles, every number there with its source."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_FOLDER = Path(__file__).parent.parent / "profiles"
_NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Properties(BaseModel):
    """Of one direction, as in `node.plan.Link`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rate_bps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delay_s: _NonNegative
    jitter_s: _NonNegative
    loss: Annotated[float, Field(ge=0, lt=1)]
    power_w: _NonNegative
    receive_w: _NonNegative = 0.0


class Profile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    up: Properties  # from a device: to an access point, a base station, or another device
    down: Properties | None = None  # None: as up

    def direction(self, upwards: bool) -> Properties:
        return self.up if upwards or self.down is None else self.down


def profile_names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@cache
def profile(name: str) -> Profile:
    """Raises KeyError for a name that is not in `profile_names`."""
    import yaml

    if name not in profile_names():
        raise KeyError(name)
    return Profile.model_validate(yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))
