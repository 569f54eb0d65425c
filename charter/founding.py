"""Founding a network on one machine, with every key at hand: to try it out, or for tests.

Stewards on machines of their own found one with `amending.begin_founding` and their signatures.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from peerllm.charter.amending import begin_founding, sign_draft
from peerllm.charter.catalogue import ModelCatalogue
from peerllm.charter.document_set import (
    CATALOGUE_FILE,
    STANDARD_FILE,
    TARIFF_FILE,
    TERMS_FILE,
)
from peerllm.charter.documents import read_document, write_document
from peerllm.charter.errors import AlreadyFounded, Malformed
from peerllm.charter.folder import METADATA
from peerllm.charter.key_files import open_key, seal_key, steward_of
from peerllm.charter.publishing import TIMESTAMP, OnlineKeys
from peerllm.charter.ratifying import ratify
from peerllm.charter.standard import SafetyStandard
from peerllm.charter.stewards import Signatories, Steward
from peerllm.charter.tariff import Tariff
from peerllm.charter.terms import CharterTerms
from peerllm.crypto.identity import Identity
from peerllm.crypto.keyfiles import create_seed_file

STEWARDS: Final = ("steward-1", "steward-2", "steward-3")
THRESHOLD: Final = 2
ONLINE_KEY: Final = "online"


def found_network(  # noqa: PLR0913 - four documents, given by name
    directory: Path,
    *,
    terms: CharterTerms,
    tariff: Tariff,
    catalogue: ModelCatalogue,
    standard: SafetyStandard,
    steward_keys_directory: Path,
    now: datetime,
    expires: datetime,
    threshold: int = THRESHOLD,
    stewards: Sequence[str] = STEWARDS,
    passphrase: str | None = None,
    timestamp_expires: datetime | None = None,
) -> bytes:
    """Do as `found_files` does, with documents given one by one."""
    files = {
        TERMS_FILE: write_document(terms),
        TARIFF_FILE: write_document(tariff),
        CATALOGUE_FILE: write_document(catalogue),
        STANDARD_FILE: write_document(standard),
    }
    return found_files(
        directory,
        files=files,
        steward_keys_directory=steward_keys_directory,
        now=now,
        expires=expires,
        threshold=threshold,
        stewards=stewards,
        passphrase=passphrase,
        timestamp_expires=timestamp_expires,
    )


def found_files(  # noqa: PLR0913 - all given by name
    directory: Path,
    *,
    files: Mapping[str, bytes],
    steward_keys_directory: Path,
    now: datetime,
    expires: datetime,
    threshold: int = THRESHOLD,
    stewards: Sequence[str] = STEWARDS,
    passphrase: str | None = None,
    timestamp_expires: datetime | None = None,
) -> bytes:
    """Write a new network's signed charter and return the root that everybody is to trust.

    Every steward's key is taken from, or made in, `steward_keys_directory` as NAME.key (0600), and
    so is the operator's online.key. With a passphrase new stewards' keys are sealed with it. The
    stewards stand for the leadership clause's interests in turn. The timestamp lives as long as the
    charter unless told otherwise. Raises a CharterError or KeyFileError; no key is left
    behind by refused documents.
    """
    if len(set(stewards)) != len(stewards) or not 1 <= threshold <= len(stewards):
        raise Malformed(f"{threshold} of the stewards {', '.join(stewards)} cannot be a threshold")
    if (directory / TIMESTAMP).exists():
        raise AlreadyFounded(f"{directory} already holds a charter; amend it or take another one")
    paths = {name: steward_keys_directory / f"{name}.key" for name in (*stewards, ONLINE_KEY)}
    keys = {name: _key(path, passphrase) for name, path in paths.items()}
    interests = read_document(files[TERMS_FILE], CharterTerms).leadership.interests or ("",)
    signatories = Signatories(
        stewards=tuple(
            steward_of(name, interests[number % len(interests)], keys[name])
            for number, name in enumerate(stewards)
        ),
        threshold=threshold,
        online_key=keys[ONLINE_KEY].public_key.hex(),
    )
    with tempfile.TemporaryDirectory(prefix="peerllm-charter-") as temporary:
        folder = Path(temporary) / "draft"
        draft = begin_founding(
            folder, files=files, signatories=signatories, now=now, expires=expires
        )
        # Keys are kept only now, so that a refused charter leaves none behind.
        for steward in signatories.stewards:
            _keep(paths[steward.name], steward, keys[steward.name], passphrase)
            draft = sign_draft(folder, keys[steward.name], "yes", now)
        _keep(paths[ONLINE_KEY], None, keys[ONLINE_KEY], None)
        online = OnlineKeys(keys[ONLINE_KEY], timestamp_expires or expires)
        ratify(draft, directory, trusted_root=None, online=online, now=now)
    return (directory / METADATA / "1.root.json").read_bytes()


def _key(path: Path, passphrase: str | None) -> Identity:
    """Return the key that is there, or a new one that nobody has kept yet."""
    if not path.exists():
        return Identity.generate()
    return open_key(path, lambda: passphrase or "")


def _keep(path: Path, steward: Steward | None, key: Identity, passphrase: str | None) -> None:
    if path.exists():
        return
    if steward is None or passphrase is None:
        create_seed_file(path, key.seed)
    else:
        seal_key(path, steward, key, passphrase)
