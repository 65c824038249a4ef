//! The signals that ask a program to end.

use std::io;

/// Listens to signals that ask this program to end; to Ctrl-C alone where there are no signals.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    kinds: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Listens to Ctrl-C and to a supervisor. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Signals> {
        use tokio::signal::unix::SignalKind;
        Signals::of(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// Listens to the end of the terminal too. A program that `nohup` may start leaves that alone.
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

    /// Waits for the next one.
    pub async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let came = self.kinds.iter_mut().any(|kind| kind.poll_recv(context).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens to Ctrl-C.
    ///
    /// # Errors
    /// Never.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// Listens to Ctrl-C.
    ///
    /// # Errors
    /// Never.
    pub fn with_hangup() -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
