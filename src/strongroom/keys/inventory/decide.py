"""What of an inventory needs attention. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from strongroom.keys.inventory.model import Alarm, Asset

_WORN_PERCENT = 50
_LIVING = ("active", "pre_active")


def alarms(assets: Sequence[Asset], *, within_days: int) -> list[Alarm]:
    """Return what is past its period, ends within so many days, is worn or compromised."""
    return [alarm for asset in assets for alarm in _of(asset, within_days)]


def _of(asset: Asset, within_days: int) -> Iterator[Alarm]:
    if asset.state == "compromised":
        yield _alarm(asset, "compromised", "is compromised and not destroyed yet")
    if asset.state == "former":
        yield _alarm(asset, "former_root", "still unwraps keys: run keys rotate root")
    if asset.uses_percent is not None and asset.uses_percent >= _WORN_PERCENT:
        yield _alarm(asset, "worn", f"has used {asset.uses_percent} % of its seals")
    if asset.days_left is None or asset.state not in (*_LIVING, "valid", "expired", "former"):
        return
    if asset.sort == "certificate":
        if asset.days_left < 0:
            yield _alarm(asset, "expired", f"expired {-asset.days_left} days ago")
        elif asset.days_left < within_days:
            yield _alarm(asset, "soon", f"expires in {asset.days_left} days")
    elif asset.days_left < 0:
        yield _alarm(asset, "overdue", f"is {-asset.days_left} days past its cryptoperiod")
    elif asset.days_left < within_days:
        yield _alarm(asset, "soon", f"ends its cryptoperiod in {asset.days_left} days")


def _alarm(asset: Asset, code: str, told: str) -> Alarm:
    return Alarm(id=asset.id, code=code, told=f"{asset.name} ({asset.id}) {told}")  # type: ignore[arg-type]
