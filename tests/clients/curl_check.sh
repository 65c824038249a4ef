#!/usr/bin/env bash
# Checks a running `specthink serve` over the built-in pair with curl, as shown in docs/serve.md.
# Usage: curl_check.sh http://127.0.0.1:8080
# Prints what it checks; exits with 1 at the first mismatch.
set -euo pipefail
address=$1
question='Start with 303. Add 58. Subtract 114. What is the result?'
body=$(mktemp)
trap 'rm -f "$body"' EXIT

# expect STATUS WORDS CURL-ARGUMENTS...: expects that the response has this status and these words.
expect() {
    local status=$1 words=$2 found
    shift 2
    found=$(curl -sS -o "$body" -w '%{http_code}' "$@")
    if [ "$found" != "$status" ] || ! grep -qF -- "$words" "$body"; then
        echo "MISMATCH: curl $* gives $found, not $status with $words:"
        head -c 2000 "$body"
        exit 1
    fi
    echo "$status $words"
}

chat=$address/v1/chat/completions
messages='"messages": [{"role": "user", "content": "'$question'"}]'
expect 200 '"chat.completion"' "$chat" -d "{$messages}"
expect 200 'data: [DONE]' -N "$chat" -d "{$messages, \"stream\": true}"
expect 200 '"text_completion"' "$address/v1/completions" -d '{"prompt": "2 + 3 =", "max_tokens": 5}'
expect 200 '"response"' "$address/v1/responses" -d "{\"input\": \"$question\"}"
expect 200 'event: response.completed' -N "$address/v1/responses" -d "{\"input\": \"$question\", \"stream\": true}"
expect 200 '"specthink:strict"' "$address/v1/models"
expect 200 '"ok"' "$address/health"
expect 200 '"openapi"' "$address/openapi.json"
expect 200 'specthink_answers_total' "$address/metrics"
expect 200 '<html' "$address/"
expect 400 'invalid_json' "$chat" -d '{'
expect 400 'unsupported_field' "$chat" -d "{$messages, \"tools\": [{}]}"
expect 404 'model_not_found' "$chat" -d "{$messages, \"model\": \"gpt-5\"}"
expect 404 'unknown_route' "$address/v1/embeddings" -d '{}'
expect 405 'method_not_allowed' "$chat"
expect 403 'origin_not_allowed' "$chat" -H 'Origin: https://evil.example' -d "{$messages}"
expect 403 'host_not_allowed' "$address/version" -H 'Host: evil.example'
head -c 10000000 /dev/zero | tr '\0' ' ' >"$body.big"
trap 'rm -f "$body" "$body.big"' EXIT
expect 413 'body_too_large' "$chat" -H 'Expect:' --data-binary "@$body.big"
expect 200 '"0.' --http1.0 "$address/version"
echo "all is as it should be"
