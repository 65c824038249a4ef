//! Manual pages and shell completions of a program, for packagers: the hidden subcommand `manual` of `specthink` and
//! `specthink-lab`, and `--manual` of the nodes, which have no subcommands.
//!
//! Both are generated from the command line's description, so they say what `--help` says. No program's own arguments
//! are here.

use std::{fs, io, path::PathBuf};

use clap_complete::Shell;

/// The shells to write completions for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Arguments of `manual`.
#[derive(Debug, Clone, clap::Args)]
pub struct ManualArgs {
    /// The folder to write to: pages go into its subfolder `man1`, completions into `completions`.
    pub folder: PathBuf,
}

impl ManualArgs {
    /// Writes the manual pages and completions of a program.
    ///
    /// When a file cannot be written. The error names the folder.
    pub fn write(&self, command: clap::Command) -> io::Result<()> {
        let shown = self.folder.display();
        self.write_files(command).map_err(|why| {
            io::Error::other(format!(
                "cannot write manual pages to {shown}: {why}; give a writable folder"
            ))
        })
    }

    fn write_files(&self, mut command: clap::Command) -> io::Result<()> {
        let [pages, completions] = ["man1", "completions"].map(|name| self.folder.join(name));
        fs::create_dir_all(&pages)?;
        fs::create_dir_all(&completions)?;
        let program = command.get_name().to_owned();
        // The subcommand `help` needs no page: it shows what the other pages say.
        clap_mangen::generate_to(command.clone().disable_help_subcommand(true), &pages)?;
        for shell in SHELLS {
            clap_complete::generate_to(shell, &mut command, &program, &completions)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn program() -> Command {
        let hidden = Command::new("manual").hide(true);
        let shown = Command::new("ask").about("Ask a question.").arg(Arg::new("seed").long("seed"));
        Command::new("program").about("Answers.").subcommands([shown, hidden])
    }

    #[test]
    fn every_subcommand_that_is_shown_has_a_page_and_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        ManualArgs { folder: folder.path().join("new") }.write(program()).unwrap();
        let names = |name: &str| -> Vec<String> {
            let entries = fs::read_dir(folder.path().join("new").join(name)).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names("man1"), ["program-ask.1", "program.1"]);
        assert_eq!(names("completions"), ["_program", "program.bash", "program.fish"]);
        let read = |path: &str| fs::read_to_string(folder.path().join("new").join(path)).unwrap();
        assert!(read("man1/program-ask.1").contains("Ask a question."));
        assert!(read("completions/program.bash").contains("--seed"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = ManualArgs { folder: file.path().to_owned() }.write(program()).unwrap_err();
        let shown = file.path().display().to_string();
        assert!(error.to_string().contains(&shown), "{error}");
    }
}
