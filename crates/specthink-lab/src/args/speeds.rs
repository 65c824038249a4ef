//! The arguments that say how fast nodes compute.

use std::path::{Path, PathBuf};

use cli::CliError;
use lab::replay::NodeSpeeds;
use machines::{Machines, SpeedCurve, Speeds};

use crate::exit::cli_error;

/// Where machines and models with a name come from.
#[derive(Debug, clap::Args)]
pub(crate) struct MachinesArgs {
    /// A TOML file of more machines, models and measured speeds; see docs/machines.md.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    machines_file: Option<PathBuf>,
}

impl MachinesArgs {
    /// The catalogue that ships, and that of the file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(crate) fn catalogue(&self) -> Result<Machines, CliError> {
        let shipped = Machines::shipped().map_err(cli_error)?;
        let own = self.machines_file.as_deref().map(Path::new).map(Machines::read);
        match own.transpose().map_err(cli_error)? {
            Some(own) => Ok(shipped.and(own)),
            None => Ok(shipped),
        }
    }

    /// The curve of `MACHINE:MODEL`, or of a file of speeds.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn curve(&self, name: &str) -> Result<SpeedCurve, CliError> {
        Ok(self.catalogue()?.speeds(name).map_err(cli_error)?.curve)
    }
}

/// Machines that recorded answers are re-timed on.
#[derive(Debug, clap::Args)]
pub(crate) struct SpeedsArgs {
    /// How fast the small node is: MACHINE:MODEL, such as laptop-cpu:1.5b-q4, or a file of speeds.
    /// [default: as recorded]
    #[arg(long, value_name = "SPEEDS", help_heading = "Nodes")]
    small_speeds: Option<String>,
    /// How fast the large node is: MACHINE:MODEL, such as h200:32b-bf16, or a file of speeds.
    /// [default: as recorded]
    #[arg(long, value_name = "SPEEDS", help_heading = "Nodes")]
    large_speeds: Option<String>,
    #[command(flatten)]
    machines: MachinesArgs,
}

impl SpeedsArgs {
    /// The curves of both nodes, and what they are for people: `the large node at h200:32b-bf16 (estimated)`. Absent if
    /// nothing was given.
    ///
    /// # Errors
    /// When a name or a file has none.
    pub(crate) fn read(&self) -> Result<(NodeSpeeds, Option<String>), CliError> {
        let machines = self.machines.catalogue()?;
        let mut shown = Vec::new();
        let mut curve = |part: &str, name: &Option<String>| {
            let Some(name) = name else { return Ok(None) };
            let Speeds { name, curve, kind, .. } = machines.speeds(name).map_err(cli_error)?;
            shown.push(format!("the {part} node at {name} ({kind})"));
            Ok::<_, CliError>(Some(curve))
        };
        let small = curve("small", &self.small_speeds)?;
        let large = curve("large", &self.large_speeds)?;
        let shown = (!shown.is_empty()).then(|| shown.join(", "));
        Ok((NodeSpeeds { small, large }, shown))
    }
}
