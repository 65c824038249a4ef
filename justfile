# Short names for everyday commands. `just` lists them. Needs https://just.systems.

small := env("SMALL_MODEL", "Qwen/Qwen2.5-0.5B-Instruct-GGUF")
small_file := env("SMALL_FILE", "qwen2.5-0.5b-instruct-q4_k_m.gguf")
large := env("LARGE_MODEL", "Qwen/Qwen2.5-1.5B-Instruct-GGUF")
large_file := env("LARGE_FILE", "qwen2.5-1.5b-instruct-q4_k_m.gguf")

[private]
default:
    @just --list

# Build everything in release mode
build:
    cargo build --release --workspace

# Run all tests (no network, no GPU, no models)
test *args:
    cargo test --workspace {{ args }}

# Check format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Format the code
fmt:
    cargo fmt --all

# Everything CI runs
ci:
    .ci/run

# Start the small node on port 7101; SMALL_MODEL and SMALL_FILE choose another model
small *args:
    cargo run --release -p small-node -- --model {{ quote(small) }} {{ if small_file == "" { "" } else { "--file " + quote(small_file) } }} {{ args }}

# Start the large node on port 7102; LARGE_MODEL and LARGE_FILE choose another model
large *args:
    cargo run --release -p large-node -- --model {{ quote(large) }} {{ if large_file == "" { "" } else { "--file " + quote(large_file) } }} {{ args }}

# Start both nodes on this machine; Ctrl-C stops both
nodes:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p small-node -p large-node
    trap 'kill 0' EXIT
    just small --threads 1 &
    just large --threads 1 &
    wait

# Ask the built-in pair a question: just try "Start with 303. Add 58. What is the result?"
try *args:
    cargo run --release -- ask {{ args }}

# Ask both nodes a question: just ask "What is 17 * 23?"
ask *args:
    cargo run --release -- ask --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 {{ args }}
