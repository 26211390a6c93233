"""The one exception that a user's input can cause."""


class ConfigurationError(ValueError):
    """A value that was asked for is not allowed.

    The message is one line for a person: it names the field, the value, and what is allowed.
    Command-line programs print it without a traceback.
    """
