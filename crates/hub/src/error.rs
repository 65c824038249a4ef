//! Errors of fetching a model by name. Each is one line: what, why, how to fix it.

use std::{io, time::Duration};

use super::{ChooseError, ModelName};

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub has no such repository, or hides it.
    #[error(
        "{endpoint} has no model '{repo}', or it is private; check the spelling at \
         {endpoint}/models, or set HF_TOKEN to a token that may read it"
    )]
    NoSuchRepo {
        /// The hub's URL.
        endpoint: String,
        /// The repository.
        repo: String,
    },
    /// The repository has no such revision.
    #[error(
        "'{repo}' has no revision '{revision}'; see {endpoint}/{repo}/commits for those it has"
    )]
    NoSuchRevision {
        /// The hub's URL.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The token gives no access to the repository.
    #[error("{endpoint} refuses '{repo}' (HTTP {status}): {remedy}")]
    Refused {
        /// The hub's URL.
        endpoint: String,
        /// The repository.
        repo: String,
        /// 401 or 403.
        status: u16,
        /// How to fix it.
        remedy: String,
    },
    /// There was no answer, or the transfer was cut too often.
    #[error(
        "cannot reach the model hub at {endpoint}: {why}; check the network, or use --offline or a \
         path (what was downloaded is kept, and the next start resumes there)"
    )]
    Unreachable {
        /// The hub's URL.
        endpoint: String,
        /// The reason.
        why: String,
    },
    /// The hub is too busy.
    #[error(
        "the model hub at {endpoint} is busy (HTTP {status}){}; try again later, or use --offline or a path (what was \
         downloaded is kept, and the next start resumes there)",
        asked(.asks)
    )]
    Busy {
        /// The hub's URL.
        endpoint: String,
        /// The HTTP status of its answer.
        status: u16,
        /// How long it asks to wait.
        asks: Option<Duration>,
    },
    /// No encrypted connection can be made from this machine.
    #[error(
        "cannot set up TLS for downloads: {why}; install the system's CA certificates (package \
         ca-certificates) or set SSL_CERT_FILE"
    )]
    Tls {
        /// The reason.
        why: String,
    },
    /// The hub's answer does not follow the protocol.
    #[error("{url} answered unexpectedly: {why}; check HF_ENDPOINT")]
    Protocol {
        /// The URL that was requested.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The repository or the cache holds nothing that could be loaded, or more than one model.
    #[error("{name}: {why}")]
    Choose {
        /// The model.
        name: String,
        /// Why no file could be chosen.
        why: ChooseError,
    },
    /// Something is missing in the cache, and the network must not be used.
    #[error(
        "{name} is not complete in the cache {cache}: {missing} missing; start once without \
         --offline (and without HF_HUB_OFFLINE) to download it"
    )]
    NotCached {
        /// The model.
        name: String,
        /// The repository's folder in the cache.
        cache: String,
        /// What is missing.
        missing: String,
    },
    /// The list of shards cannot be used.
    #[error("{name}: {file} is not a list of weight files ({why}); delete it to download it again")]
    BadIndex {
        /// The model.
        name: String,
        /// The list.
        file: String,
        /// Why not.
        why: String,
    },
    /// The content that arrived is not what the hub announced.
    #[error(
        "{file} arrived damaged ({why}) and was deleted; start again, and check the proxy or \
         mirror if it happens again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What differs.
        why: String,
    },
    /// Another process is downloading the same file and makes no progress.
    #[error(
        "another process has held {lock} for ten minutes without progress; stop it, then start again"
    )]
    Locked {
        /// The lock file.
        lock: String,
    },
    /// The cache cannot be written.
    #[error("cannot write {path}: {why}; {}", room(.why))]
    Disk {
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
}

impl HubError {
    /// Returns whether the download itself failed, so that the same name may work another time or on another machine.
    pub fn is_failed_download(&self) -> bool {
        match self {
            HubError::Refused { .. }
            | HubError::Unreachable { .. }
            | HubError::Busy { .. }
            | HubError::Protocol { .. }
            | HubError::Tls { .. }
            | HubError::Damaged { .. }
            | HubError::Locked { .. }
            | HubError::Disk { .. } => true,
            HubError::NoSuchRepo { .. }
            | HubError::NoSuchRevision { .. }
            | HubError::NotCached { .. }
            | HubError::Choose { .. }
            | HubError::BadIndex { .. } => false,
        }
    }
}

impl HubError {
    pub(super) fn choose(name: &str, why: ChooseError) -> HubError {
        HubError::Choose { name: name.to_owned(), why }
    }

    pub(super) fn missing(name: &ModelName, files: &[&str]) -> HubError {
        HubError::choose(&name.to_string(), ChooseError::Missing(files.join(", ")))
    }

    pub(super) fn disk(path: &std::path::Path) -> impl FnOnce(io::Error) -> HubError {
        let path = path.display().to_string();
        move |why| HubError::Disk { path, why }
    }

    /// Returns whether a complete copy in the cache can be served despite this error: the hub cannot be asked, or the
    /// cache is not writable.
    pub(super) fn spares_the_copy(&self) -> bool {
        match self {
            HubError::Unreachable { .. } | HubError::Busy { .. } => true,
            HubError::Disk { why, .. } => may_not_be_written(why),
            _ => false,
        }
    }
}

fn may_not_be_written(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Returns what to do about a file that cannot be written.
fn room(why: &io::Error) -> &'static str {
    if may_not_be_written(why) {
        "set HF_HOME to a writable folder, or use --offline if the model is in the cache"
    } else {
        "free some space or set HF_HOME to a folder with room"
    }
}

fn asked(asks: &Option<Duration>) -> String {
    asks.map_or_else(String::new, |wait| {
        format!(" and asks to wait {}", humantime::format_duration(wait))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_whole_copy_stands_in_where_the_hub_or_the_cache_does_not_let_one() {
        let endpoint = || "http://hub".to_owned();
        let disk = |kind: io::ErrorKind| HubError::disk(Path::new("blob"))(kind.into());
        for (error, stands_in) in [
            (HubError::Unreachable { endpoint: endpoint(), why: "gone".to_owned() }, true),
            (HubError::Busy { endpoint: endpoint(), status: 429, asks: None }, true),
            (disk(io::ErrorKind::ReadOnlyFilesystem), true),
            (disk(io::ErrorKind::PermissionDenied), true),
            (disk(io::ErrorKind::StorageFull), false),
            (HubError::NoSuchRepo { endpoint: endpoint(), repo: "a/b".to_owned() }, false),
        ] {
            assert_eq!(error.spares_the_copy(), stands_in, "{error}");
        }
        let advice = |kind| disk(kind).to_string();
        assert!(advice(io::ErrorKind::ReadOnlyFilesystem).contains("a writable folder"));
        assert!(advice(io::ErrorKind::StorageFull).contains("free some space"));
    }
}
