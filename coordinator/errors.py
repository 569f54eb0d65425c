"""The coordinator's errors: bugs and I/O only, never what a customer or host may expect."""


class CoordinatorError(Exception):
    """Anything the coordinator raises on purpose; messages never carry prompt or answer text."""


class LedgerError(CoordinatorError):
    """A money rule was about to be broken: nothing has been written."""


class UnknownAccountError(LedgerError):
    """An account, key or reservation was named that the ledger does not hold."""


class StorageError(CoordinatorError):
    """The database file could not be opened, read or written: nothing of the write remains."""


class StorageVersionError(StorageError):
    """The database file was written by a newer version of this software."""


class StorageClosedError(StorageError):
    """A write was asked for after the storage had begun to close."""


class NameRefusedError(CoordinatorError):
    """A name, label or digest given by an operator has the wrong shape."""
