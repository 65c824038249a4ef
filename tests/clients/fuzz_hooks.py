"""The custom check of fuzz_check.py. Not a program by itself."""

import schemathesis


@schemathesis.check
def no_defect(ctx, response, case):
    """Whatever is sent, the server answers, and never with 5xx, unless a request left its answer too little time."""
    if response.status_code < 500:
        return
    code = response.json().get("error", {}).get("code")
    assert code == "deadline_exceeded", f"{response.status_code} {code}"
