"""Money: an integer count of minor units and an ISO 4217 currency. No float ever comes near."""

from __future__ import annotations

import msgspec

from strongroom.kernel.errors import StrongroomError

_EXPONENT_0 = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
)
_EXPONENT_3 = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
_EXPONENT_2 = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP "
    "PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG".split()
)
CURRENCIES = _EXPONENT_0 | _EXPONENT_2 | _EXPONENT_3
"""ISO 4217 alphabetic codes that may be charged."""

MAX_AMOUNT_MINOR = 99_999_999_999
"""Largest amount of one payment: below 2^53 (safe in every JSON reader), above any card limit."""


def exponent(currency: str) -> int:
    """Return how many decimal digits the currency has (ISO 4217): 0, 2 or 3.

    Raises:
        StrongroomError: `currency_not_supported` for a code that is not a chargeable currency.
    """
    if currency in _EXPONENT_2:
        return 2
    if currency in _EXPONENT_0:
        return 0
    if currency in _EXPONENT_3:
        return 3
    raise StrongroomError(
        "currency_not_supported",
        "Use an ISO 4217 currency code in upper case, such as EUR.",
        param="currency",
    )


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units (cents for EUR, yen for JPY) with its currency."""

    minor: int
    currency: str

    def text(self) -> str:
        """Return the amount for people: `10.99 EUR`, `500 JPY`."""
        digits = exponent(self.currency)
        if digits == 0:
            return f"{self.minor} {self.currency}"
        sign = "-" if self.minor < 0 else ""
        whole, part = divmod(abs(self.minor), 10**digits)
        return f"{sign}{whole}.{part:0{digits}d} {self.currency}"
