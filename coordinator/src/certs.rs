//! `specthink certs`: creates an authority, and the certificates that it signs for nodes and clients, in one command.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, SystemTime},
};

use answer::file::private;
use cli::{CertificateFacts, CliError, Exit, written};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::ServerName;

const AFTER_HELP: &str = "\
Examples:
  Mutual TLS between a laptop and a GPU server, with all files in the folder certs:
    specthink certs certs --node gpu.example.org,10.0.0.7 --client laptop
  Another client later, signed by the same authority:
    specthink certs certs --client desk
  New certificates for the same names; nodes and servers load them without a restart:
    specthink certs certs --node gpu.example.org,10.0.0.7 --client laptop --renew

Everything that ca.key signs is trusted by all of them: keep that key off the nodes.";

/// How long before its creation a certificate becomes valid, since clocks differ.
const BACKDATED: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Names that every node's certificate includes: a node is also reached through a tunnel, or from its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Arguments of `certs`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CertsArgs {
    /// The folder for the files; created if missing. If it holds an authority (ca.pem, ca.key), that one signs.
    folder: PathBuf,
    /// A node, by the host name or IP address in its URL; separate several names of one node by commas. The loopback
    /// names are always added. May be given more than once.
    #[arg(long = "node", value_name = "NAME[,NAME]", required_unless_present = "clients")]
    nodes: Vec<NodeNames>,
    /// A client, by any name. May be given more than once.
    #[arg(long = "client", value_name = "NAME")]
    clients: Vec<ClientName>,
    /// How many days the certificates of nodes and clients are valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// How many days a new authority is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    ca_days: u32,
    /// Replace existing certificates and keys of these names. The authority stays.
    #[arg(long)]
    renew: bool,
}

/// The names of a node. Its files are named after the first one.
#[derive(Debug, Clone)]
struct NodeNames(Vec<String>);

impl FromStr for NodeNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(|name| {
            let name = name.trim();
            let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            let name = bare.unwrap_or(name);
            match ServerName::try_from(name) {
                Ok(_) => Ok(name.to_owned()),
                Err(_) => Err(format!(
                    "{name:?} is not a host name: write a DNS name or an IP address, without https:// and port"
                )),
            }
        });
        names.collect::<Result<_, _>>().map(NodeNames)
    }
}

/// The name of a client. Its files are named after it.
#[derive(Debug, Clone)]
struct ClientName(String);

impl FromStr for ClientName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = text.bytes().all(is_plain) && text.len() <= 64;
        match text.bytes().next() {
            Some(first) if is_name && first.is_ascii_alphanumeric() => {
                Ok(ClientName(text.to_owned()))
            }
            _ => Err("write up to 64 letters, digits and - _ . and begin with a letter or digit"
                .to_owned()),
        }
    }
}

/// A certificate to create.
struct Wanted {
    /// The name of its files, without an extension.
    stem: String,
    /// Names and addresses; empty for a client.
    names: Vec<String>,
}

impl Wanted {
    fn node(NodeNames(names): &NodeNames) -> Self {
        let mut all = names.clone();
        all.extend(
            LOCAL
                .iter()
                .filter(|name| !names.iter().any(|it| it == *name))
                .map(|it| (*it).to_owned()),
        );
        Wanted { stem: names[0].replace(':', "-"), names: all }
    }

    fn client(ClientName(name): &ClientName) -> Self {
        Wanted { stem: name.clone(), names: Vec::new() }
    }

    fn is_node(&self) -> bool {
        !self.names.is_empty()
    }
}

/// An authority that signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
    /// Its certificate and key, if it is new.
    new: Option<(String, String)>,
}

pub(crate) fn run(args: &CertsArgs) -> Result<Exit, CliError> {
    #[expect(clippy::disallowed_methods, reason = "certificates are valid from now on")]
    let now = SystemTime::now();
    let wanted: Vec<Wanted> = args
        .nodes
        .iter()
        .map(Wanted::node)
        .chain(args.clients.iter().map(Wanted::client))
        .collect();
    check(args, &wanted)?;
    let authority = authority(args, now)?;
    let mut said = Vec::new();
    let mut files = Vec::new();
    if let Some((cert, key)) = &authority.new {
        files.extend([("ca.key".to_owned(), key.clone()), ("ca.pem".to_owned(), cert.clone())]);
        said.push(format!("ca.pem, ca.key: the authority, until {}", day(authority.not_after)));
    }
    for wanted in &wanted {
        let not_after = (now + DAY * args.days).min(authority.not_after);
        let (cert, key) = signed(wanted, &authority.issuer, now - BACKDATED, not_after)?;
        let Wanted { stem, names } = wanted;
        files.extend([(format!("{stem}.key"), key), (format!("{stem}.pem"), cert)]);
        let whose = match names.as_slice() {
            [] => "a client".to_owned(),
            names => format!("a node, reached as {}", names.join(", ")),
        };
        said.push(format!("{stem}.pem, {stem}.key: {whose}, until {}", day(not_after)));
    }
    write_all(args, files)?;
    written(tell(&args.folder, &said, &wanted))?;
    Ok(Exit::Ok)
}

/// Checks that no file would be overwritten, so that nothing is written if a name is taken.
fn check(args: &CertsArgs, wanted: &[Wanted]) -> Result<(), CliError> {
    let mut stems = BTreeSet::from(["ca"]);
    for Wanted { stem, .. } in wanted {
        if !stems.insert(stem) {
            let message = format!(
                "two certificates would be named {stem}.pem: choose another name for one of them"
            );
            return Err(CliError::new(Exit::Usage, message));
        }
        let taken = [format!("{stem}.pem"), format!("{stem}.key")];
        let taken = taken.into_iter().map(|name| args.folder.join(name));
        if let Some(path) = taken.into_iter().find(|path| !args.renew && path.exists()) {
            let message = format!(
                "{} already exists: choose another name or folder, or replace it with --renew",
                path.display()
            );
            return Err(CliError::new(Exit::Credentials, message));
        }
    }
    Ok(())
}

/// Returns the folder's authority, or a new one.
fn authority(args: &CertsArgs, now: SystemTime) -> Result<Authority, CliError> {
    let (cert, key) = (args.folder.join("ca.pem"), args.folder.join("ca.key"));
    match (cert.exists(), key.exists()) {
        (false, false) => new_authority(now - BACKDATED, now + DAY * args.ca_days),
        (true, true) => known_authority(&cert, &key, now),
        (has_cert, _) => {
            let (there, missing) = if has_cert { (cert, "ca.key") } else { (key, "ca.pem") };
            let message = format!(
                "found {}, but no {missing} beside it: copy that file here, or choose another folder for a new \
                 authority",
                there.display()
            );
            Err(CliError::new(Exit::Credentials, message))
        }
    }
}

fn new_authority(not_before: SystemTime, not_after: SystemTime) -> Result<Authority, CliError> {
    let key = KeyPair::generate().map_err(|why| defect(&why))?;
    let mut params = params(&[], "specthink CA", not_before, not_after)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).map_err(|why| defect(&why))?;
    let new = Some((cert.pem(), key.serialize_pem()));
    Ok(Authority { issuer: Issuer::new(params, key), not_after, new })
}

fn known_authority(cert: &Path, key: &Path, now: SystemTime) -> Result<Authority, CliError> {
    let broken = |path: &Path, why: &dyn std::fmt::Display| {
        let message = format!(
            "{} cannot be used: {why}; choose another folder for a new authority",
            path.display()
        );
        CliError::new(Exit::Credentials, message)
    };
    let facts =
        CertificateFacts::read(cert).map_err(|error| CliError::new(Exit::Credentials, error))?;
    let text = |path: &Path| fs::read_to_string(path).map_err(|why| broken(path, &why));
    let pair = KeyPair::from_pem(&text(key)?).map_err(|why| broken(key, &why))?;
    if !facts.has_key(&pair.subject_public_key_info()) {
        return Err(broken(key, &"it is not the key of ca.pem"));
    }
    if !facts.is_authority {
        return Err(broken(cert, &"it is not an authority's certificate"));
    }
    if !facts.is_valid_at(now) {
        return Err(broken(cert, &format!("it was valid until {}", facts.last_day())));
    }
    let issuer = Issuer::from_ca_cert_pem(&text(cert)?, pair).map_err(|why| broken(cert, &why))?;
    Ok(Authority { issuer, not_after: facts.not_after, new: None })
}

/// Returns a certificate and its key, as PEM.
fn signed(
    wanted: &Wanted,
    issuer: &Issuer<'static, KeyPair>,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<(String, String), CliError> {
    let key = KeyPair::generate().map_err(|why| defect(&why))?;
    let mut params = params(&wanted.names, &wanted.stem, not_before, not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match wanted.is_node() {
        true => ExtendedKeyUsagePurpose::ServerAuth,
        false => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, issuer).map_err(|why| defect(&why))?;
    Ok((cert.pem(), key.serialize_pem()))
}

fn params(
    names: &[String],
    subject: &str,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, CliError> {
    let mut params = CertificateParams::new(names).map_err(|why| defect(&why))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    (params.not_before, params.not_after) = (not_before.into(), not_after.into());
    Ok(params)
}

fn defect(why: &rcgen::Error) -> CliError {
    CliError::new(Exit::Internal, format!("cannot create a certificate: {why}"))
}

/// Writes all files; keys are readable by their owner only.
fn write_all(args: &CertsArgs, files: Vec<(String, String)>) -> Result<(), CliError> {
    let cannot = |path: &Path, why: io::Error| {
        let message = format!("cannot write {}: {why}; choose a writable folder", path.display());
        CliError::new(Exit::Credentials, message)
    };
    fs::create_dir_all(&args.folder).map_err(|why| cannot(&args.folder, why))?;
    for (name, text) in files {
        let path = args.folder.join(&name);
        write(&path, &text, name.ends_with(".key"), args.renew)
            .map_err(|why| cannot(&path, why))?;
    }
    Ok(())
}

/// Writes a new file, or replaces one if that is allowed.
fn write(path: &Path, text: &str, is_secret: bool, may_replace: bool) -> io::Result<()> {
    let mut options = if is_secret { private() } else { fs::File::options() };
    options.write(true).create_new(true);
    if !may_replace {
        return options.open(path)?.write_all(text.as_bytes());
    }
    // A concurrent reader gets either the old file or the new one.
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    options.open(&beside)?.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

fn day(time: SystemTime) -> String {
    let shown = humantime::format_rfc3339_seconds(time).to_string();
    shown.split('T').next().unwrap_or_default().to_owned()
}

/// Prints what was written and how to use it.
fn tell(folder: &Path, said: &[String], wanted: &[Wanted]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "in {}:", folder.display())?;
    for line in said {
        writeln!(out, "  {line}")?;
    }
    for Wanted { stem, .. } in wanted.iter().filter(|wanted| wanted.is_node()) {
        writeln!(out, "copy ca.pem, {stem}.pem and {stem}.key to the node, and start it with")?;
        writeln!(
            out,
            "  --listen 0.0.0.0:7102 --tls-cert {stem}.pem --tls-key {stem}.key --tls-client-ca ca.pem"
        )?;
    }
    let url = wanted.iter().find(|wanted| wanted.is_node()).map_or("NODE".to_owned(), |node| {
        let name = &node.names[0];
        if matches!(name.parse(), Ok(IpAddr::V6(_))) { format!("[{name}]") } else { name.clone() }
    });
    for Wanted { stem, .. } in wanted.iter().filter(|wanted| !wanted.is_node()) {
        writeln!(
            out,
            "copy ca.pem, {stem}.pem and {stem}.key to the client, and check the connection with"
        )?;
        writeln!(
            out,
            "  specthink doctor --large https://{url}:7102 --tls-ca ca.pem --tls-cert {stem}.pem --tls-key {stem}.key"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_machines_and_of_files() {
        for (text, names) in [
            ("gpu.example.org", &["gpu.example.org"][..]),
            ("gpu, 10.0.0.7,[::2]", &["gpu", "10.0.0.7", "::2"]),
        ] {
            assert_eq!(
                text.parse::<NodeNames>().map(|it| it.0),
                Ok(names.iter().map(|it| (*it).to_owned()).collect())
            );
        }
        for text in ["", "gpu,", "https://gpu", "gpu:7102", "a b", "../x", "-"] {
            let why = text.parse::<NodeNames>().map(|it| it.0).expect_err(text);
            assert!(why.contains("write a DNS name or an IP address"), "{why}");
        }
        for (text, is_name) in [
            ("laptop", true),
            ("a.b_c-1", true),
            ("", false),
            ("../x", false),
            (".x", false),
            ("ä", false),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(text.parse::<ClientName>().is_ok(), is_name, "{text}");
        }
    }
}
