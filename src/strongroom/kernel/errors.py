"""The one error type of the house: what a caller may see, apart from what operators may log.

`public` is all a caller ever reads; `detail` goes to logs and must be free of secrets as well.
HTTP statuses are chosen in one place, `strongroom.api.problems`, from `code`.
"""

from __future__ import annotations


class StrongroomError(Exception):
    """An expected failure with a stable `code` (listed in docs/errors.md).

    Args:
        code: stable machine-readable name, snake_case.
        public: one sentence for the caller that says how to mend it; never echoes input.
        detail: operator-facing context, without card data or secrets.
        retryable: whether the same request may succeed later unchanged.
        retry_after_s: seconds the caller should wait before trying again.
        param: path of the offending field, such as `card.number`.
    """

    def __init__(
        self,
        code: str,
        public: str,
        *,
        detail: str = "",
        retryable: bool = False,
        retry_after_s: int | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(code, public)
        self.code = code
        self.public = public
        self.detail = detail
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.param = param

    def __str__(self) -> str:
        return f"{self.code}: {self.public}"
