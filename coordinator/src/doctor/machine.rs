//! Checks of this machine: its memory, and its GPU if it has one.

use std::{process::Command, time::Duration};

use sysinfo::System;
use tokio::{task::spawn_blocking, time::timeout};

use super::Check;

const ABOUT: &str = "this machine";
/// With less free memory than this, in bytes, `doctor` adds a note.
const LITTLE: u64 = 1 << 30;
/// How long `nvidia-smi` may take. If the driver hangs, it never answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the checks.
pub(super) async fn checks() -> Vec<Check> {
    let mut system = System::new();
    system.refresh_memory();
    let mut checks = vec![memory(system.available_memory(), system.total_memory())];
    let asked = spawn_blocking(|| {
        let query = "--query-gpu=name,driver_version,memory.free,memory.total";
        Command::new("nvidia-smi").args([query, "--format=csv,noheader"]).output()
    });
    match timeout(PATIENCE, asked).await {
        Err(_) | Ok(Err(_)) => {
            let says = format!("nvidia-smi does not answer within {PATIENCE:?}");
            checks
                .push(Check::note(ABOUT, "GPU", says).remedy("restart the driver or the machine"));
        }
        Ok(Ok(Err(_))) => checks.push(Check::ok(ABOUT, "GPU", "no NVIDIA GPU found")),
        Ok(Ok(Ok(output))) => {
            let [said, fault] =
                [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
            checks.extend(gpus(output.status.success(), &said, &fault));
        }
    }
    checks
}

fn memory(available: u64, total: u64) -> Check {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let says = format!("{} of {} free", gib(available), gib(total));
    if available < LITTLE {
        return Check::note(ABOUT, "memory", says)
            .remedy("close other programs before starting a node here");
    }
    Check::ok(ABOUT, "memory", says)
}

/// Returns the checks from the output of `nvidia-smi`: one for each GPU.
fn gpus(is_well: bool, said: &str, fault: &str) -> Vec<Check> {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    if !is_well || lines.is_empty() {
        let why = lines.first().copied().or(fault.lines().next()).unwrap_or("it says nothing");
        let says = format!("nvidia-smi fails ({})", thinking::shown::one_line(why));
        let remedy =
            "if a node is to use the GPU here, reinstall its driver and restart the machine";
        return vec![Check::note(ABOUT, "GPU", says).remedy(remedy)];
    }
    let gpu = |line: &&str| {
        let parts: Vec<&str> = line.split(',').map(str::trim).collect();
        let says = match parts[..] {
            [name, driver, free, total] => {
                format!("{name}, driver {driver}, {free} of {total} free")
            }
            _ => (*line).to_owned(),
        };
        Check::ok(ABOUT, "GPU", thinking::shown::one_line(&says))
    };
    lines.iter().map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn gpus_and_their_faults_are_reported() {
        let said =
            "NVIDIA H200, 550.54.15, 143000 MiB, 143771 MiB\nNVIDIA L4, 550.54.15, 1 MiB, 2 MiB\n";
        let two = gpus(true, said, "");
        assert_eq!(two.len(), 2);
        let line = "NVIDIA H200, driver 550.54.15, 143000 MiB of 143771 MiB free";
        assert_eq!((two[0].state, two[0].says.as_str()), (State::Ok, line));
        let mismatch = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550\n";
        for (said, fault) in [(mismatch, ""), ("", mismatch)] {
            let one = gpus(false, said, fault);
            assert_eq!(one[0].state, State::Note);
            assert!(
                one[0].says.contains("version mismatch)") && one[0].remedy.is_some(),
                "{one:?}"
            );
        }
        assert_eq!(gpus(true, "", "").len(), 1);
    }

    #[test]
    fn little_memory_is_a_note() {
        assert_eq!(memory(3 << 30, 8 << 30).says, "3.0 GiB of 8.0 GiB free");
        assert_eq!(memory(1 << 20, 8 << 30).state, State::Note);
    }
}
