"""What a ratification leaves in the public log, by the commands a steward and an operator run."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import typer
from typer.testing import CliRunner

from peerllm.charter.commands import charter_app
from peerllm.charter.defaults import (
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.documents import document_name, write_document
from peerllm.charter.founding import found_files
from peerllm.charter.log_commands import log_app
from peerllm.charter.region_rules import open_region

FIRST_DOCUMENTS = {
    f"{document_name(type(document))}.json": write_document(document)
    for document in (
        first_terms("example"),
        first_tariff(),
        first_catalogue(),
        first_standard(),
    )
}


def test_a_new_region_is_taken_down_with_its_ballot(tmp_path: Path) -> None:
    begins = datetime(2030, 1, 1, tzinfo=UTC)
    found_files(
        tmp_path / "public",
        files=FIRST_DOCUMENTS,
        steward_keys_directory=tmp_path / "keys",
        now=begins,
        expires=datetime(2031, 1, 1, tzinfo=UTC),
    )
    record = write_document(
        open_region(
            "bavaria",
            contact="hosts@bavaria.example",
            reason="founded",
            now_us=int(begins.timestamp() * 1_000_000),
        )
    )
    (tmp_path / "new" / "regions").mkdir(parents=True)
    (tmp_path / "new" / "regions" / "bavaria.json").write_bytes(record)

    def well(app: typer.Typer, *arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    def key(name: object) -> Path:
        return tmp_path / "keys" / f"{name}.key"

    log, draft, public = tmp_path / "log", tmp_path / "draft", tmp_path / "public"
    vkey = well(
        log_app, "init", log, "--origin", "home.example/log", "--key", tmp_path / "k", "--json"
    )
    well(
        charter_app,
        *("propose", public, draft, "--key", key("steward-1"), "--summary", "A region"),
        *("--documents", tmp_path / "new", "--at", "2030-01-02"),
    )
    well(charter_app, "second", draft, "--key", key("steward-2"), "--at", "2030-01-02")
    for number in (1, 2):
        words = ("--vote", "yes", "--no-confirm", "--at", "2030-01-03")
        well(charter_app, "sign", draft, "--key", key(f"steward-{number}"), *words)
    ratify = ("ratify", draft, public, "--online-key", key("online"), "--log", log)
    well(charter_app, *ratify, "--at", "2030-01-20")
    well(log_app, "checkpoint", log, "--key", tmp_path / "k")

    entries = well(log_app, "entries", log / "public", "--key", json.loads(vkey)["key"], "--json")
    [decision] = [
        body
        for line in entries.splitlines()
        for entry in [json.loads(line)]
        if (body := entry.get("entry", entry)["body"])["kind"] == "region-decision"
    ]
    assert decision == {
        "kind": "region-decision",
        "region": "bavaria",
        "decision": "community",
        "sha256": hashlib.sha256(record).hexdigest(),
    }
