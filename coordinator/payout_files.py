"""A payout batch as files: CSV for people, pain.001 for the bank, a record and an entry to publish.

All are made from the batch as the ledger holds it: writing them again gives the same bytes.
"""

import csv
import io
import os
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from sepaxml.validation import ValidationError, try_valid_xml

from peerllm.charter.folder import put_file
from peerllm.charter.log_entries import Entry, PayoutBatch, RegionName, write_entry
from peerllm.charter.spelling import spelling
from peerllm.coordinator.errors import CoordinatorError, NameRefusedError
from peerllm.coordinator.payout import CENT_NANO_USD, Batch, Payee
from peerllm.coordinator.payout_storage import is_iban_shaped

PAIN_SCHEMA: Final = "pain.001.001.09"
_NAMESPACE: Final = f"urn:iso:std:iso:20022:tech:xsd:{PAIN_SCHEMA}"
# What ISO 20022 has for a bank that the payer does not name.
_UNKNOWN_AGENT: Final = "NOTPROVIDED"
# A cell that begins like this is a formula to spreadsheets.
_FORMULA_SIGNS: Final = ("=", "+", "-", "@")


class BatchRecord(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="document", tag="payout-batch/1"
):
    """What is published of a batch: nothing about any single payout."""

    batch: str
    created_at_us: int
    payouts: int
    total_nano_usd: int
    minimum_nano_usd: int
    root: str
    ledger_entry: int
    ledger_digest: str


def batch_csv(batch: Batch) -> bytes:
    """One line for each payout, amounts in US dollars with cents and in nano-USD."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(
        ["batch", "line", "host", "payee", "account", "bank", "amount_usd", "amount_nano_usd"]
    )
    for line in batch.lines:
        payee = line.payee
        writer.writerow(
            [
                batch.batch,
                line.line,
                line.host,
                f"'{payee.name}" if payee.name.startswith(_FORMULA_SIGNS) else payee.name,
                payee.account,
                payee.agent or "",
                dollars_and_cents(line.amount),
                line.amount,
            ]
        )
    return text.getvalue().encode()


def batch_pain(batch: Batch) -> bytes:
    """The batch as an ISO 20022 credit transfer initiation, valid under its schema.

    Raises CoordinatorError when the schema refuses it: nothing of it may go to a bank then.
    """
    created = datetime.fromtimestamp(batch.created_at_us / 1_000_000, UTC)
    root = ET.Element("Document", xmlns=_NAMESPACE)
    initiation = ET.SubElement(root, "CstmrCdtTrfInitn")
    header = ET.SubElement(initiation, "GrpHdr")
    _text(header, "MsgId", batch.batch)
    _text(header, "CreDtTm", created.strftime("%Y-%m-%dT%H:%M:%SZ"))
    _sums(header, batch)
    _text(ET.SubElement(header, "InitgPty"), "Nm", batch.payer.name)
    payment = ET.SubElement(initiation, "PmtInf")
    _text(payment, "PmtInfId", batch.batch)
    _text(payment, "PmtMtd", "TRF")
    _sums(payment, batch)
    _text(ET.SubElement(payment, "ReqdExctnDt"), "Dt", created.strftime("%Y-%m-%d"))
    _text(ET.SubElement(payment, "Dbtr"), "Nm", batch.payer.name)
    _account(payment, "DbtrAcct", batch.payer)
    _agent(payment, "DbtrAgt", batch.payer.agent)
    for line in batch.lines:
        transaction = ET.SubElement(payment, "CdtTrfTxInf")
        # One id for each line of each batch: a bank that gets the file twice can tell.
        _text(ET.SubElement(transaction, "PmtId"), "EndToEndId", _line_id(batch, line.line))
        amount = ET.SubElement(ET.SubElement(transaction, "Amt"), "InstdAmt", Ccy="USD")
        amount.text = dollars_and_cents(line.amount)
        if line.payee.agent is not None:
            _agent(transaction, "CdtrAgt", line.payee.agent)
        _text(ET.SubElement(transaction, "Cdtr"), "Nm", line.payee.name)
        _account(transaction, "CdtrAcct", line.payee)
        _text(ET.SubElement(transaction, "RmtInf"), "Ustrd", f"PeerLLM {batch.batch} {line.host}")
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    raw = written + b"\n"
    try:
        try_valid_xml(raw, PAIN_SCHEMA)
    except ValidationError as error:
        raise CoordinatorError(
            f"the batch is no valid {PAIN_SCHEMA}: a payee's name, account or bank does not fit;"
            f" pay it by the CSV file ({type(error.__cause__).__name__})"
        ) from error
    return raw


def batch_record(batch: Batch) -> bytes:
    """What is published of the batch."""
    return spelling(
        BatchRecord(
            batch=batch.batch,
            created_at_us=batch.created_at_us,
            payouts=len(batch.lines),
            total_nano_usd=batch.total,
            minimum_nano_usd=batch.minimum,
            root=batch.root.hex(),
            ledger_entry=batch.ledger_entry,
            ledger_digest=batch.ledger_digest.hex(),
        )
    )


def batch_entry(batch: Batch, region: str) -> bytes:
    """The batch's entry for the public log."""
    return write_entry(
        Entry(
            at_us=batch.created_at_us,
            body=PayoutBatch(
                region=region,
                batch=batch.batch,
                payouts=len(batch.lines),
                total_nano_usd=batch.total,
                root=batch.root.hex(),
            ),
        )
    )


def check_region(region: str) -> str:
    """The region, if an entry of the log may name it; raises NameRefusedError."""
    try:
        return msgspec.convert(region, RegionName)
    except msgspec.ValidationError as error:
        raise NameRefusedError(
            f"{region[:80]!r} names no region: 1 to 63 of a-z 0-9 - beginning with a letter or"
            " digit"
        ) from error


def require_writable(folder: Path) -> None:
    """Raise CoordinatorError where the files of a batch cannot be written, before it is paid."""
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CoordinatorError(
            f"nothing was paid: {nearest} is no folder that can be written to; give another --out"
        )


def write_batch(batch: Batch, folder: Path, region: str) -> tuple[Path, ...]:
    """Write the bank's files into `bank`, which only the owner may open, the others into `public`.

    As often as one likes: the bytes are the same each time.
    """
    bank, public = folder / "bank", folder / "public"
    bank.mkdir(parents=True, exist_ok=True)
    bank.chmod(0o700)
    files = {
        bank / f"{batch.batch}.csv": batch_csv(batch),
        public / f"{batch.batch}.json": batch_record(batch),
        public / f"{batch.batch}.entry.json": batch_entry(batch, region),
    }
    for path, content in files.items():
        put_file(path, content)
    # Last: should the schema refuse it, the batch can still be paid by the CSV.
    pain = bank / f"{batch.batch}.xml"
    put_file(pain, batch_pain(batch))
    return (*files, pain)


def dollars_and_cents(nano_usd: int) -> str:
    """An amount of whole cents in US dollars: "12.30"."""
    cents, rest = divmod(nano_usd, CENT_NANO_USD)
    if rest:
        raise CoordinatorError(f"{nano_usd} nano-USD is not a whole number of cents")
    return f"{cents // 100}.{cents % 100:02}"


def _line_id(batch: Batch, line: int) -> str:
    # 35 characters at most, whatever the batch's name: its beginning tells enough to people.
    number = f"-{line}"
    return batch.batch[: 35 - len(number)] + number


def _sums(parent: ET.Element, batch: Batch) -> None:
    _text(parent, "NbOfTxs", str(len(batch.lines)))
    _text(parent, "CtrlSum", dollars_and_cents(batch.total))


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _account(parent: ET.Element, name: str, payee: Payee) -> None:
    identification = ET.SubElement(ET.SubElement(parent, name), "Id")
    if is_iban_shaped(payee.account):
        _text(identification, "IBAN", payee.account)
    else:
        _text(ET.SubElement(identification, "Othr"), "Id", payee.account)


def _agent(parent: ET.Element, name: str, agent: str | None) -> None:
    institution = ET.SubElement(ET.SubElement(parent, name), "FinInstnId")
    if agent is None:
        _text(ET.SubElement(institution, "Othr"), "Id", _UNKNOWN_AGENT)
    else:
        _text(institution, "BICFI", agent)
