"""What can go wrong inside the safety room, apart from ordinary verdicts."""


class SafetyError(Exception):
    """Base of every error raised by this room. Its message never holds a customer's text."""


class ModelFileError(SafetyError):
    """A shipped model file is missing, damaged or of another version than the code."""


class StreamOrderError(SafetyError):
    """A stream was pushed to after it had been finished."""
