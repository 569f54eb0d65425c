"""Amounts and shares of money as people read them; exact, never rounded."""

NANO_PER_USD = 1_000_000_000


def usd(nano_usd: int) -> str:
    """Return an amount in US dollars with at least two decimals: "1.50 USD"."""
    sign, amount = ("-", -nano_usd) if nano_usd < 0 else ("", nano_usd)
    dollars, nano = divmod(amount, NANO_PER_USD)
    decimals = f"{nano:09}".rstrip("0").ljust(2, "0")
    return f"{sign}{dollars:,}.{decimals} USD"


def change(before: int, after: int) -> str:
    """Return a move in hundredths of a percent: "+5.00%"; "new" from zero."""
    if before == 0:
        return "no change" if after == 0 else "new"
    hundredths = abs(after - before) * 10_000 // before
    sign = "+" if after >= before else "-"
    return f"{sign}{hundredths // 100}.{hundredths % 100:02}%"
