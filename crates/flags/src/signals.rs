//! The signals that ask a program to end, or to reload its files.

use std::io;

/// Listens for the signals that ask a program to end. On a system without signals, only for Ctrl-C.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    kinds: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Listens for Ctrl-C and for a supervisor's SIGTERM. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Signals> {
        use tokio::signal::unix::SignalKind;
        Signals::of(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// As [`Signals::new`], and listens for SIGHUP too, which a closed terminal sends. In a program that serves, SIGHUP
    /// means something else: see [`Hangups`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_hangup() -> io::Result<Signals> {
        use tokio::signal::unix::SignalKind;
        Signals::of(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])
    }

    fn of(kinds: &[tokio::signal::unix::SignalKind]) -> io::Result<Signals> {
        let kinds = kinds.iter().map(|kind| tokio::signal::unix::signal(*kind));
        Ok(Signals { kinds: kinds.collect::<io::Result<_>>()? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let came = self.kinds.iter_mut().any(|kind| kind.poll_recv(context).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Listens for SIGHUP, which asks a program to reload its files. On a system without signals, it never comes.
#[derive(Debug)]
pub struct Hangups {
    #[cfg(unix)]
    kind: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Listens, so that the signal does not end the program. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Hangups> {
        #[cfg(unix)]
        {
            let kind = tokio::signal::unix::SignalKind::hangup();
            Ok(Hangups { kind: tokio::signal::unix::signal(kind)? })
        }
        #[cfg(not(unix))]
        Ok(Hangups {})
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.kind.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens for Ctrl-C.
    ///
    /// # Errors
    /// Never.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// Listens for Ctrl-C.
    ///
    /// # Errors
    /// Never.
    pub fn with_hangup() -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// Waits for the next Ctrl-C.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
