"""Errors that a user can fix."""


class TzmlError(Exception):
    """An error that a user can fix.

    `what` says what happened, with what was found and what was expected. `remedy` says how to fix it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def __str__(self) -> str:
        what = super().__str__()
        return f"{what}; {self.remedy}" if self.remedy else what
