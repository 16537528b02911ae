"""A name that TRL imports and that is not used here."""


class StructuredOutputsParams:
    """Grammars for answers."""
