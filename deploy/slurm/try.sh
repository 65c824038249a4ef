#!/usr/bin/env bash
# Runs both job scripts for real, with the built-in pair, on a Slurm on this machine only: munge, slurmctld and slurmd,
# with plain files as GPUs, in a folder that is removed at the end. Needs root, and Debian's packages slurm-wlm and
# munge; takes a minute.
# Usage: deploy/slurm/try.sh PROGRAMS, the folder with specthink, specthink-lab, small-node and large-node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$here/../../models/arithmetic/test.jsonl
PATH=$(realpath "$1"):$PATH
for program in munged slurmctld slurmd specthink specthink-lab small-node large-node; do
    command -v "$program" >/dev/null || { echo "there is no $program here" >&2; exit 2; }
done

dir=$(mktemp -d)
export SLURM_CONF=$dir/slurm.conf
finish() {
    jobs -p | xargs -r kill 2>/dev/null || true
    squeue -h -o %A 2>/dev/null | xargs -r scancel || true
    for _ in $(seq 10); do
        squeue -h 2>/dev/null | grep -q . && sleep 1
    done
    for name in slurmd slurmctld munged; do
        [ ! -s "$dir/$name.pid" ] || kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
    done
    sleep 1
    rm -rf "$dir"
}
trap finish EXIT

host=$(hostname -s)
mkdir -p "$dir"/{state,spool,jobs,munge}
# munged requires that all users can reach it, and that only it can read its key.
chmod 755 "$dir" "$dir/munge"
head -c 128 /dev/urandom >"$dir/munge/key"
chmod 600 "$dir/munge/key"
touch "$dir"/gpu{0,1}
cat >"$SLURM_CONF" <<END
ClusterName=try
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURMCTLD_PORT:-42817}
SlurmdPort=${SLURMD_PORT:-42818}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
GresTypes=gpu
MailProg=/bin/true
# Jobs see four cores, however many there are.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:2 State=UNKNOWN
PartitionName=try Nodes=$host Default=YES MaxTime=10 State=UP
END
printf 'Name=gpu File=%s\n' "$dir/gpu0" "$dir/gpu1" >"$dir/gres.conf"
munged --socket "$dir/munge/socket" --key-file "$dir/munge/key" --pid-file "$dir/munged.pid" \
    --log-file "$dir/munge/log" --seed-file "$dir/munge/seed"
slurmctld
slurmd -N "$host"

# Waits until a command succeeds, for at most a minute: within_a_minute COMMAND...
within_a_minute() {
    for _ in $(seq 60); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 1
    done
    echo "still fails after a minute: $*" >&2
    tail -n 5 "$dir"/slurm*.log "$dir"/jobs/*.log >&2 || true
    exit 1
}

idle() { sinfo -h -o %t | grep -qx idle; }
gone() { ! squeue -h -j "$1" | grep -q .; }
# Fails unless a file has a line that matches: has PATTERN FILE.
has() { grep -q "$1" "$2" || { echo "$2 has no line with $1:" >&2; cat "$2" >&2; exit 1; }; }
within_a_minute idle
cd "$dir/jobs"
export SPECTHINK_DEVICE=cpu
small_jobs=(--cpus-per-task=1 --mem-per-cpu=0 --time=5)

echo "== two large nodes as a job, with one GPU each"
job=$(sbatch --parsable --ntasks=2 "${small_jobs[@]}" "$here/large-nodes.sbatch")
within_a_minute test -s "specthink-$job/endpoints.toml"
grep address "specthink-$job/endpoints.toml"
scontrol show -d job "$job" | grep -o 'GRES=.*'
small-node --listen 127.0.0.1:0 >small.out 2>small.log &
small=$!
within_a_minute grep -q '^listening on ' small.out
for large in @large-0 @large-1; do
    specthink ask --endpoints "specthink-$job/endpoints.toml" --large "$large" \
        --small "$(sed -n 's/^listening on //p' small.out)" \
        "Start with 303. Add 141. Double it. Take away 494. What is the result?" >ask.out 2>ask.log
    has '⟦large' ask.out
    tail -n 1 ask.out
done
kill "$small"
scancel "$job"
within_a_minute gone "$job"
has '^stopping' "specthink-$job/large-0.log"
has '^stopping' "specthink-$job/large-1.log"

echo "== a sweep as an array of two; one element is interrupted and continued"
experiment=("$data" --limit 40 --policy small-only --policy strict --link loopback --link 4g-good)
job=$(sbatch --parsable --array=0-1 "${small_jobs[@]}" "$here/sweep.sbatch" "${experiment[@]}")
within_a_minute grep -q '"id"' sweep/seed-1/strict/loopback/seed-1/log.jsonl
scancel --batch --signal=TERM "${job}_1"
within_a_minute gone "$job"
has 'seed | right' "specthink-sweep-$job-0.log"
has 'run the same command again' "specthink-sweep-$job-1.log"
echo "element 1 was interrupted with $(cat sweep/seed-1/*/*/*/log.jsonl | grep -c '"id"') of 160 rows"
job=$(sbatch --parsable --array=1 "${small_jobs[@]}" "$here/sweep.sbatch" "${experiment[@]}")
within_a_minute gone "$job"
tail -n 8 "specthink-sweep-$job-1.log"
specthink-lab report sweep/seed-* --out sweep/report
cut -d, -f1-6,24 sweep/report/cells.csv
[ "$(tail -n +2 sweep/report/cells.csv | cut -d, -f4,24 | sort | uniq -c | xargs)" = "8 40,0" ] ||
    { echo "not every cell has 40 answers without a failure" >&2; exit 1; }
echo "everything ran"
