"""The check of fuzz_check.py that is ours. Not a check itself."""

import schemathesis


@schemathesis.check
def no_defect(ctx, response, case):
    """Whatever is sent: the server answers, and not with 5xx, unless a request gave its answer no time."""
    if response.status_code < 500:
        return
    code = response.json().get("error", {}).get("code")
    assert code == "deadline_exceeded", f"{response.status_code} {code}"
