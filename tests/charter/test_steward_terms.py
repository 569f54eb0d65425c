"""Stewards serve for a term: what one does after it counts for a renewal of the terms only."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from peerllm.charter import amending, drafts, ratifying
from peerllm.charter.amending import begin_founding, epoch_us, propose, second_draft, sign_draft
from peerllm.charter.auditing import audit
from peerllm.charter.ballot_papers import DAY_US, Founding, Proposal, Vote, second_id, sign
from peerllm.charter.commands import charter_app
from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import write_document
from peerllm.charter.drafts import DraftSignatures, planned_version, read_draft, read_paper
from peerllm.charter.errors import CharterError, Malformed, NotDecided, TooFewSignatures
from peerllm.charter.given_documents import first_files
from peerllm.charter.key_files import steward_of
from peerllm.charter.metadata import signature_of
from peerllm.charter.spelling import spelling
from peerllm.charter.steward_terms import is_renewal, term_notices
from peerllm.charter.stewards import Signatories
from peerllm.charter.store import found_network
from peerllm.charter.terms import terms_faults
from peerllm.charter.versions import read_version
from peerllm.crypto.identity import Identity
from tests.charter.changes import DAY, files_of, load, replace, standard

TERM = timedelta(days=60)
CLAUSE = replace(first_terms("home").leadership, term_days=60)
TERMS = replace(first_terms("home"), leadership=CLAUSE)


@pytest.fixture(scope="module")
def short_terms(founded_networks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network like the others, whose stewards serve 60 days."""
    home, place = founded_networks[0], tmp_path_factory.mktemp("short")
    root = found_network(
        place / "home",
        terms=TERMS,
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=place / "home-keys",
        threshold=2,
        now=home.founded_at,
        expires=home.expires,
    )
    return type(home)(place / "home", place / "home-keys", root, home.founded_at, home.expires)


@pytest.fixture
def serving(short_terms: Any, copy_of: Callable[[Path], Path]) -> Any:
    return type(short_terms)(
        copy_of(short_terms.folder),
        short_terms.keys,
        short_terms.root,
        short_terms.founded_at,
        short_terms.expires,
    )


def signatories(network: Any, now: datetime) -> Signatories:
    found: Signatories = network.in_force(now).signatories
    return found


def renewal(network: Any, draft: Path, now: datetime, *names: str, proposer: int = 1) -> None:
    propose(
        draft,
        base=network.in_force(now),
        new_files={},
        summary="Another term",
        key=network.steward(proposer),
        now=now,
        expires=network.expires,
        signatories=signatories(network, now),
        renewed=names,
    )


def vote_by_hand(network: Any, draft: Path, number: int, at: datetime) -> None:
    """A vote as a steward's own software could write it, whatever ours would say."""
    read = read_draft(draft)
    assert read.second is not None
    vote = Vote(
        proposal=read.identity,
        second=second_id(read.second),
        steward=network.steward(number).public_key.hex(),
        choice="yes",
        at_us=epoch_us(at),
    )
    path = draft / "votes" / f"steward-{number}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(spelling(sign(vote, network.steward(number))))
    sign_by_hand(network, draft, number)


def sign_by_hand(network: Any, draft: Path, number: int) -> None:
    read, key = read_draft(draft), network.steward(number)
    path = draft / "signatures" / f"steward-{number}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        spelling(
            DraftSignatures(
                plan=read.identity,
                version=read.version.number,
                steward=key.public_key.hex(),
                root=signature_of(read.version.root, key),
                targets=signature_of(read.version.targets, key),
            )
        )
    )


def test_a_term_begins_with_the_founding_and_is_in_the_signed_root(serving: Any) -> None:
    now = serving.founded_at
    charter = load(serving, now)
    assert set(charter.term_ends_us.values()) == {epoch_us(now + TERM)}
    assert len(charter.term_ends_us) == 3
    assert "x-peerllm-term-from" in serving.root.decode()
    assert list(term_notices(charter.stewards, charter.term_ends_us, epoch_us(now))) == []
    ended = list(term_notices(charter.stewards, charter.term_ends_us, epoch_us(now + TERM)))
    for number, text in enumerate(ended, start=1):
        assert text.startswith(f"the term of steward-{number} ended on 2030-03-02: until it is")
    assert len(ended) == 3


def test_whose_term_has_ended_proposes_seconds_and_votes_nothing(
    serving: Any, tmp_path: Path
) -> None:
    end = serving.founded_at + TERM
    late, draft = tmp_path / "late", tmp_path / "draft"
    with pytest.raises(NotDecided, match=r"proposed by a steward whose term had ended on 2030-03"):
        serving.propose(late, standard(), now=end)
    # Nor that the charter lives on as it is, or with other documents besides the renewal.
    with pytest.raises(NotDecided, match="takes part in renewing"):
        serving.propose(late, {}, now=end)
    with pytest.raises(NotDecided, match="takes part in renewing"):
        serving.propose(late, standard(), now=end, signatories=signatories(serving, end))
    assert not late.exists()
    serving.propose(draft, standard(), now=end - DAY)
    with pytest.raises(NotDecided, match="seconded by a steward whose term had ended"):
        second_draft(draft, serving.steward(2), end)
    second_draft(draft, serving.steward(2), end - DAY)
    sign_draft(draft, serving.steward(1), "yes", end - DAY)
    before = files_of(draft)
    with pytest.raises(NotDecided, match="would not count: it was cast by a steward whose term"):
        sign_draft(draft, serving.steward(2), "yes", end)
    assert files_of(draft) == before
    # Written by other software it is there, and counts for nobody.
    vote_by_hand(serving, draft, 2, end)
    closes = end - DAY + timedelta(days=14)
    public = files_of(serving.folder)
    with pytest.raises(NotDecided, match=r"no quorum: 1 of the 3 .*vote of steward-2 does not"):
        serving.ratify(draft, closes)
    assert files_of(serving.folder) == public


def test_a_vote_cast_in_term_counts_with_its_signature_when_the_vote_closes_after_it(
    serving: Any, tmp_path: Path
) -> None:
    draft, last = tmp_path / "draft", serving.founded_at + TERM - timedelta(seconds=1)
    serving.propose(draft, standard(), now=last)
    then = serving.decided(draft, now=last)
    serving.ratify(draft, then)
    assert load(serving, then).version == 2
    assert len(audit(serving.folder, 2, serving.root, then)) == 2


def test_everybody_whose_term_has_ended_can_renew_them(serving: Any, tmp_path: Path) -> None:
    late = serving.founded_at + timedelta(days=200)
    names = ("steward-1", "steward-2", "steward-3")
    for some in ((), names[:1], names[1:]):
        # A renewal leaves nobody whose term has ended.
        with pytest.raises((NotDecided, Malformed), match="takes part in renewing"):
            renewal(serving, tmp_path / "part", late, *some)
    draft = tmp_path / "draft"
    renewal(serving, draft, late, *names)
    assert "stewards term_from.steward-1: 2030-07-20" in (draft / "changes.txt").read_text()
    then = serving.decided(draft, now=late)
    serving.ratify(draft, then)
    charter = load(serving, then)
    assert set(charter.term_ends_us.values()) == {epoch_us(late + TERM)}
    serving.amend(tmp_path / "next", standard(), now=then)
    assert len(audit(serving.folder, 3, serving.root, then + timedelta(days=14))) == 3


def test_whoever_joins_begins_a_term_and_the_others_go_on(serving: Any, tmp_path: Path) -> None:
    now = serving.founded_at + timedelta(days=20)
    old, fresh = signatories(serving, now), Identity.from_seed(b"f" * 32)
    joined = steward_of("cai", old.stewards[2].interest, fresh)
    draft = tmp_path / "draft"
    changed = replace(old, stewards=(joined, *old.stewards[:2]))
    serving.propose(draft, {}, now=now, signatories=changed)
    then = serving.decided(draft, now=now)
    serving.ratify(draft, then)
    since = signatories(serving, then).terms_from_us
    assert since[joined.public_key] == epoch_us(now)
    assert [since[each.public_key] for each in old.stewards[:2]] == [
        epoch_us(serving.founded_at)
    ] * 2
    assert len(since) == 3
    assert len(audit(serving.folder, 2, serving.root, then)) == 2


@pytest.fixture
def staggered(serving: Any, tmp_path: Path) -> tuple[Any, datetime]:
    """The first two stewards serve until day 105, the third until day 60; and a day between."""
    now = serving.founded_at + timedelta(days=45)
    draft = tmp_path / "two"
    renewal(serving, draft, now, "steward-1", "steward-2")
    serving.ratify(draft, serving.decided(draft, now=now))
    return serving, serving.founded_at + timedelta(days=65)


def test_a_signature_does_not_stand_in_for_the_vote_that_is_missing(
    staggered: tuple[Any, datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, now = staggered
    draft = tmp_path / "draft"
    network.propose(draft, standard(), now=now)
    second_draft(draft, network.steward(2), now)
    sign_draft(draft, network.steward(1), "yes", now)
    sign_draft(draft, network.steward(2), "abstain", now)
    sign_by_hand(network, draft, 3)
    then = now + timedelta(days=14)
    with pytest.raises(TooFewSignatures, match=r"1 of the 2 .* signed by steward-1\."):
        network.ratify(draft, then)
    # An operator whose software lets it pass is found by everybody's verify.
    with monkeypatch.context() as lax:
        lax.setattr(ratifying, "signing_past_term", lambda _ballot: frozenset())
        network.ratify(draft, then)
    assert load(network, then).version == 3
    with pytest.raises(TooFewSignatures, match="1 of the 2 stewards whose terms had not ended"):
        audit(network.folder, 3, network.root, then)


def test_an_operator_who_publishes_what_ended_stewards_decided_is_found(
    serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, draft = serving.founded_at + TERM + DAY, tmp_path / "draft"
    with monkeypatch.context() as lax:
        for module in (amending, drafts):
            lax.setattr(module, "binding_ends", lambda *_: {})
        serving.propose(draft, standard(), now=late)
        then = serving.decided(draft, now=late)
        serving.ratify(draft, then)
    with pytest.raises(CharterError, match="proposed by a steward whose term had ended"):
        audit(serving.folder, 2, serving.root, then)


@pytest.mark.parametrize("since", [1, -DAY_US // 2, DAY_US, None])
def test_nobody_gives_a_term_another_beginning(serving: Any, tmp_path: Path, since: Any) -> None:
    now, draft = serving.founded_at + DAY, tmp_path / "draft"
    renewal(serving, draft, now, "steward-1")
    proposal = read_paper(draft / "proposal.json", Proposal)
    assert proposal.signatories is not None
    terms = dict(proposal.signatories.terms_from_us)
    first = proposal.signatories.stewards[0].public_key
    if since is None:
        del terms[first]
    else:
        terms[first] += since
    forged = sign(
        replace(
            proposal,
            signatories=replace(proposal.signatories, terms_from_us=terms),
            signature="",
        ),
        serving.steward(1),
    )
    with pytest.raises(Malformed, match="term of steward-1 neither goes on as it is nor begins"):
        planned_version(forged, serving.in_force(now), None, {})
    if since is None:
        # Without any date a longer life is not to be had either.
        none = replace(forged, signatories=replace(proposal.signatories, terms_from_us={}))
        with pytest.raises(Malformed, match="neither goes on"):
            planned_version(none, serving.in_force(now), None, {})
        assert not is_renewal(none, CLAUSE)


@pytest.mark.parametrize("value", ["-1", '"soon"', "true", "4102444800000001", "1.5", "null"])
def test_a_root_with_a_term_that_is_no_date_is_refused(serving: Any, value: str) -> None:
    metadata = serving.folder / "metadata"
    root = metadata / "1.root.json"
    text = json.dumps(json.loads(root.read_bytes()))
    since = f'"x-peerllm-term-from": {epoch_us(serving.founded_at)}'
    assert since in text
    broken = text.replace(since, f'"x-peerllm-term-from": {value}', 1).encode()
    with pytest.raises(CharterError):
        read_version(broken, (metadata / "1.targets.json").read_bytes(), lambda *_: b"")


def test_a_founding_dates_all_terms_alike(serving: Any, tmp_path: Path) -> None:
    now, folder = serving.founded_at, tmp_path / "founding"
    files = first_files("new", None, epoch_us(now))
    files["charter-terms.json"] = write_document(replace(TERMS, network="new"))
    given = replace(signatories(serving, now), terms_from_us={})
    draft = begin_founding(folder, files=files, signatories=given, now=now, expires=serving.expires)
    assert isinstance(draft.plan, Founding)
    assert set(draft.plan.signatories.terms_from_us.values()) == {epoch_us(now)}
    terms = dict(draft.plan.signatories.terms_from_us)
    terms[given.stewards[0].public_key] += DAY_US
    forged = replace(draft.plan, signatories=replace(given, terms_from_us=terms))
    with pytest.raises(Malformed, match="begins when the network is founded"):
        planned_version(forged, None, None, files)
    foreign = replace(given, terms_from_us={"00" * 32: epoch_us(now)})
    with pytest.raises(Malformed, match="who is no steward"):
        planned_version(replace(draft.plan, signatories=foreign), None, None, files)


def test_a_network_of_before_terms_were_dated_goes_on_and_is_dated_by_its_next_rotation(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, now = tmp_path / "old", network.founded_at
    with monkeypatch.context() as older:
        older.setattr(amending, "dated", lambda _base, new, _renewed, _at: new)
        root = found_network(
            place / "public",
            terms=TERMS,
            tariff=first_tariff(),
            catalogue=first_catalogue(),
            standard=first_standard(),
            steward_keys_directory=place / "keys",
            threshold=2,
            now=now,
            expires=network.expires,
        )
        old = type(network)(place / "public", place / "keys", root, now, network.expires)
    assert b"term" not in root
    late = now + timedelta(days=200)
    charter = load(old, late)
    assert charter.term_ends_us == {}
    assert "is not dated" in next(term_notices(charter.stewards, {}, epoch_us(late)))
    then = old.amend(tmp_path / "first", standard(), now=late)
    draft = tmp_path / "second"
    renewal(old, draft, then, "steward-2")
    ratified = old.decided(draft, now=then)
    old.ratify(draft, ratified)
    assert set(signatories(old, ratified).terms_from_us.values()) == {epoch_us(then)}
    assert len(audit(old.folder, 3, old.root, ratified)) == 3


def test_a_term_outlasts_a_vote_on_stewards() -> None:
    for days in (0, 3):
        short = replace(TERMS, leadership=replace(CLAUSE, term_days=days))
        assert "is over before a vote on stewards" in "".join(terms_faults(short))
    assert list(terms_faults(replace(TERMS, leadership=replace(CLAUSE, term_days=4)))) == []


def test_the_commands_say_whose_term_has_ended_and_renew_it(
    serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object, code: int = 0) -> Any:
        monkeypatch.setenv("COLUMNS", "200")
        done = CliRunner().invoke(charter_app, [str(argument) for argument in arguments])
        assert done.exit_code == code, done.output
        return done

    day = f"{serving.founded_at + TERM:%Y-%m-%d}"
    assert "2030-03-02" in run("show", serving.folder, "--at", "2030-01-01").stdout
    told = run("verify", serving.folder, "--at", day)
    assert told.stderr.count("ended on 2030-03-02: until it is renewed") == 3
    as_json = json.loads(run("verify", serving.folder, "--json", "--at", day).stdout)
    assert len(as_json["notices"]) == len(as_json["term_ends_us"]) == 3
    assert "ended on" not in run("verify", serving.folder, "--at", "2030-03-01").stderr
    change = (serving.folder, tmp_path / "draft", "--key", serving.key(1), "--at", day)
    said = ("--summary", "Two more months")
    refused = run("propose", *change, *said, code=1)
    assert "takes part in renewing" in refused.stderr
    unknown = run("rotate", *change, *said, "--renew", "dora", code=1)
    assert "no steward is called dora" in unknown.stderr
    names = [part for number in (1, 2, 3) for part in ("--renew", f"steward-{number}")]
    run("rotate", *change, *said, *names)
    run("second", tmp_path / "draft", "--key", serving.key(2), "--at", day)
    for number in (1, 2):
        yes = ("--vote=yes", "--no-confirm", "--at", day)
        run("sign", tmp_path / "draft", "--key", serving.key(number), *yes)
    later = f"{serving.founded_at + TERM + timedelta(days=3):%Y-%m-%d}"
    run("tally", tmp_path / "draft", "--at", later)
    online = ("--online-key", serving.keys / "online.key", "--at", later)
    run("ratify", tmp_path / "draft", serving.folder, *online)
    assert "ended on" not in run("verify", serving.folder, "--at", later).stderr
