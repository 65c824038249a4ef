//! The configuration file of `serve`: flags by their names, endpoints, and policies that become models. `serving`
//! decides what the values mean together.

use std::{
    any::TypeId,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{
    ArgAction, Args as _, CommandFactory as _, Parser as _, error::ErrorKind, parser::ValueSource,
};
use cli::{CliError, Endpoints, Exit, PolicyArgs, argument_fault};
use serve::AnswerBackend;
use thinking::names::nearest;
use toml::{Table, Value, de::DeTable};

use crate::{
    args::{Args, Command},
    serve_args::{NamedPolicy, PolicyForm, ServeArgs},
};

/// Tables of the file that are not flags. `endpoints` may also be the flag.
const TABLES: [&str; 2] = ["endpoints", "policies"];
/// Flags that are not allowed in the file.
const NOT_IN_A_FILE: [&str; 3] = ["config", "check", "help"];
/// Flags that belong to the node before them, which a table cannot express, and the endpoint's key for each.
const OF_A_NODE: [(&str, &str); 4] = [
    ("small-token-file", "token-file"),
    ("small-model", "model"),
    ("large-token-file", "token-file"),
    ("large-model", "model"),
];

/// Arguments that are wrong, by themselves or together with the configuration file that they name.
pub(crate) enum ArgsError {
    /// The command line is wrong.
    Usage(clap::Error),
    /// The file is wrong: every mistake in it.
    File(Vec<CliError>),
}

/// Reads the command line, and the configuration file if it names one. The command line overrides the file.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Args, ArgsError> {
    let Some((path, given)) = named_file(&arguments) else {
        return Args::try_parse_from(arguments).map_err(ArgsError::Usage);
    };
    let file = ConfigFile::read(&path)?;
    let flags = file.flags.iter().filter(|flag| !given.contains(&flag.name));
    let flags: Vec<OsString> = flags.flat_map(|flag| flag.arguments.clone()).collect();
    let program = arguments.first().cloned().unwrap_or_default();
    let alone = [program, "serve".into()].into_iter().chain(flags.iter().cloned());
    let mut args = match Args::try_parse_from(arguments.iter().chain(&flags)) {
        Ok(args) => args,
        Err(error) => {
            // Find out whether the mistake is in the file or on the command line.
            return Err(match Args::try_parse_from(alone) {
                Err(error) if !flags.is_empty() => {
                    ArgsError::File(vec![mistake(file.shown(), argument_fault(&error))])
                }
                _ => ArgsError::Usage(error),
            });
        }
    };
    if let Command::Serve(serve) = &mut args.command {
        file.fill(serve);
    }
    Ok(args)
}

/// Returns the file that the command line names, and the flags that it gives.
fn named_file(arguments: &[OsString]) -> Option<(PathBuf, Vec<String>)> {
    // Other mistakes are reported when everything is read.
    let matches = Args::command().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let matches = matches.subcommand_matches("serve")?;
    let file = |id| matches.try_get_one::<PathBuf>(id).ok().flatten();
    let path = file("config").or_else(|| file("check"))?.clone();
    let command = serve_command();
    let given = command.get_arguments().filter(|arg| {
        let id = arg.get_id().as_str();
        matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    Some((path, given.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()))
}

fn serve_command() -> clap::Command {
    ServeArgs::augment_args(
        clap::Command::new("serve").no_binary_name(true).disable_help_flag(true),
    )
}

fn mistake(place: impl std::fmt::Display, why: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Configuration, format!("{place}: {why}"))
}

/// A flag of the file.
struct FileFlag {
    name: String,
    arguments: Vec<OsString>,
}

/// A configuration file. All keys are known, and the values of all flags can be read.
struct ConfigFile {
    path: PathBuf,
    text: String,
    flags: Vec<FileFlag>,
    endpoints: Option<Endpoints>,
    policies: Vec<NamedPolicy>,
}

impl ConfigFile {
    fn read(path: &Path) -> Result<ConfigFile, ArgsError> {
        let text = fs::read_to_string(path).map_err(|why| {
            let remedy = "give a TOML file, as shown in docs/serve.md";
            ArgsError::File(vec![mistake(
                path.display(),
                format!("cannot read it: {why}; {remedy}"),
            )])
        })?;
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let (mut file, mut mistakes) = (
            ConfigFile {
                path: path.to_owned(),
                text,
                flags: Vec::new(),
                endpoints: None,
                policies: Vec::new(),
            },
            Vec::new(),
        );
        match file.text.parse::<Table>() {
            Ok(table) => {
                for (key, value) in table {
                    file.take(key, value, &mut mistakes);
                }
            }
            Err(_) => {
                let (_, mut errors) = DeTable::parse_recoverable(&file.text);
                let begin = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
                errors.sort_by_key(begin);
                // Further errors in a line mostly follow from the first one.
                errors.dedup_by_key(|error| file.at(begin(error)));
                mistakes.extend(errors.iter().map(|error| {
                    let why = format!("{}; write TOML as shown in docs/serve.md", error.message());
                    mistake(file.at(begin(error)), why)
                }));
            }
        }
        if mistakes.is_empty() { Ok(file) } else { Err(ArgsError::File(mistakes)) }
    }

    fn take(&mut self, key: String, value: Value, mistakes: &mut Vec<CliError>) {
        match (key.as_str(), value) {
            ("endpoints", Value::Table(tables)) => match Endpoints::of(&self.path, tables) {
                Ok(endpoints) => self.endpoints = Some(endpoints),
                Err(faults) => mistakes.extend(faults.into_iter().map(|(name, why)| {
                    let place = self.place(&["endpoints", &name]);
                    mistake(place, format!("endpoint {name:?}: {why}"))
                })),
            },
            ("policies", Value::Table(table)) => {
                for (name, value) in table {
                    let place = self.place(&["policies", &name]);
                    match policy_form(&name, value) {
                        Ok(form) => self.policies.push(NamedPolicy { name, place, form }),
                        Err(why) => {
                            mistakes.push(mistake(place, format!("policy {name:?}: {why}")))
                        }
                    }
                }
            }
            ("policies", _) => {
                let why = "policies is not a table: write [policies] above lines such as hasty = \"strict:overlap=20\"";
                mistakes.push(mistake(self.place(&["policies"]), why));
            }
            (name, value) => match self.flag(name, &value) {
                Ok(flag) => self.flags.push(flag),
                Err(why) => mistakes.push(mistake(self.place(&[name]), why)),
            },
        }
    }

    /// Returns a flag with its values, or what is wrong with it.
    fn flag(&self, name: &str, value: &Value) -> Result<FileFlag, String> {
        let command = serve_command();
        let is_known =
            |arg: &&clap::Arg| arg.get_long().is_some_and(|long| !NOT_IN_A_FILE.contains(&long));
        let known: Vec<&clap::Arg> = command.get_arguments().filter(is_known).collect();
        let Some(arg) = known.iter().find(|arg| arg.get_long() == Some(name)) else {
            let names = known.iter().filter_map(|arg| arg.get_long()).chain(TABLES);
            let near = nearest(name, &names.collect::<Vec<_>>()).to_owned();
            return Err(format!("{name:?} is not a known key: write {near}, or leave it out"));
        };
        if let Some((_, key)) = OF_A_NODE.iter().find(|(flag, _)| *flag == name) {
            return Err(format!(
                "{name} belongs to a single node: name that node in a table [endpoints.NAME] and write {key} there"
            ));
        }
        let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        let arguments = match (arg.get_action(), value) {
            (ArgAction::SetTrue, Value::Boolean(true)) => vec![format!("--{name}").into()],
            (ArgAction::SetTrue, Value::Boolean(false)) => Vec::new(),
            (ArgAction::SetTrue, _) => return Err(format!("{name} must be true or false")),
            (ArgAction::Append, Value::Array(values)) => {
                let each = values.iter().map(|value| self.argument(name, value, is_path));
                each.collect::<Result<_, _>>()?
            }
            (_, value) => vec![self.argument(name, value, is_path)?],
        };
        for argument in &arguments {
            let alone = command.clone().try_get_matches_from([argument]);
            let is_bad = [ErrorKind::InvalidValue, ErrorKind::ValueValidation];
            if let Some(error) = alone.err().filter(|error| is_bad.contains(&error.kind())) {
                return Err(argument_fault(&error));
            }
        }
        Ok(FileFlag { name: name.to_owned(), arguments })
    }

    fn argument(&self, name: &str, value: &Value, is_path: bool) -> Result<OsString, String> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => {
                let found = other.type_str();
                return Err(format!(
                    "{name} has a value of type {found}: write a text or a number"
                ));
            }
        };
        let mut argument = OsString::from(format!("--{name}="));
        match is_path {
            true => argument.push(self.folder().join(text)),
            false => argument.push(text),
        }
        Ok(argument)
    }

    /// Adds to the arguments what is not a flag: endpoints and policies.
    fn fill(self, serve: &mut ServeArgs) {
        if let Some(endpoints) = self.endpoints {
            serve.answering.nodes.take_endpoints(endpoints);
        }
        serve.policies = self.policies;
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Returns where a key is: the file and the line.
    fn place(&self, keys: &[&str]) -> String {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        let (mut table, mut begin) = (Some(table.get_ref()), 0);
        for name in keys {
            let found =
                table.and_then(|table| table.iter().find(|(key, _)| &**key.get_ref() == *name));
            if let Some((key, _)) = found {
                begin = key.span().start;
            }
            table = found.and_then(|(_, value)| value.get_ref().as_table());
        }
        self.at(begin)
    }

    fn at(&self, begin: usize) -> String {
        let line = self.text.bytes().take(begin).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.shown())
    }
}

/// Reads a policy: a text written like flags, or a table in the form of a journal's header.
fn policy_form(name: &str, value: Value) -> Result<PolicyForm, String> {
    if !AnswerBackend::may_be_named(name) {
        return Err("a model cannot have this name: use letters, digits, and . _ : / - between them, but not \
                    specthink, small, large or a name that begins with specthink:"
            .to_owned());
    }
    match value {
        Value::String(text) => {
            let policy: PolicyArgs = text.parse()?;
            if policy.resend {
                return Err(
                    "resend applies to all policies: write it as a key of the file".to_owned()
                );
            }
            Ok(PolicyForm::Flags { policy: Box::new(policy), has_preset: text.contains("preset=") })
        }
        table @ Value::Table(_) => {
            let json = serde_json::to_value(table).map_err(|why| why.to_string())?;
            let spec = AnswerBackend::policy_of(json).map_err(|why| why.to_string())?;
            Ok(PolicyForm::Spec(Box::new(spec)))
        }
        other => Err(format!(
            "its type is {}: write a text such as \"strict:overlap=20\", or a table with name and parameters",
            other.type_str()
        )),
    }
}
