"""Errors that a user can do something about."""


class TzmlError(Exception):
    """What happened, with what was found and expected; `remedy` says what to do about it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def __str__(self) -> str:
        what = super().__str__()
        return f"{what}; {self.remedy}" if self.remedy else what
