"""What can be wrong with a charter; each message says which document and what to do."""

# ruff: noqa: N818 - the names say what happened; a suffix would add nothing.


class CharterError(Exception):
    """Base of every error this room raises on purpose."""


class BadSignature(CharterError):
    """Signatures are there, but too few of them are valid signatures of stewards."""


class TooFewSignatures(BadSignature):
    """Fewer stewards signed than the trusted root demands."""


class RevokedKey(BadSignature):
    """Signed with a key that a later root has taken out."""


class Expired(CharterError):
    """The charter's time is over and no newer one is there."""


class Frozen(Expired):
    """The timestamp ended: the operator no longer vouches that this is the newest charter."""


class WrongClock(CharterError):
    """Something was signed later than this machine's clock says it is."""


class NotDecided(CharterError):
    """A change that its ballot has not passed, or not passed yet."""


class NotYetInForce(CharterError):
    """The signed tariff begins in the future."""


class RolledBack(CharterError):
    """An older version than one already seen, or versions that do not belong together."""


class AlteredDocument(CharterError):
    """A document's bytes are not the ones that were signed."""


class MissingDocument(CharterError):
    """A file of the charter, or the trusted root, is not there or cannot be read."""


class Malformed(CharterError):
    """A document cannot be read as what it should be, or breaks a rule that binds every charter."""


class AlreadyFounded(CharterError):
    """The folder already holds a network's charter."""


class AlteredLog(CharterError):
    """The public log's files do not add up to the checkpoint that its key signed."""


class ForkedLog(CharterError):
    """One key signed two histories of the public log."""


class NotWitnessed(CharterError):
    """A checkpoint lacks the cosignatures it must have, or they bear impossible times."""


class BusyLog(CharterError):
    """Another process holds the files that only one may write."""
