//! Watches a node from afar: `grpc.health.v1` reports at once when it drains, and `Describe` is polled for how busy it
//! is.

use std::time::Duration;

use thinking::thinker::{Condition, Failure, Serving};
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::{client::Remote, server::SERVICE, status};

/// How long a node may take to describe itself. It answers this independently of its model's work, so a node that takes
/// longer hangs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Remote {
    /// Reports the node's condition to `tell`: now, whenever it starts or stops accepting sessions, and `every`
    /// interval how busy it is. Runs until it is dropped.
    pub async fn keep_watching(&self, every: Duration, mut tell: impl FnMut(Condition) + Send) {
        loop {
            let gone = match self.watch(every, &mut tell).await {
                Ok(never) => never,
                Err(failure) => failure,
            };
            tell(Condition::Gone(gone));
            sleep(every).await;
        }
    }

    /// Watches over one connection, until it breaks or the node does not answer.
    async fn watch(
        &self,
        every: Duration,
        tell: &mut (impl FnMut(Condition) + Send),
    ) -> Result<Failure, Failure> {
        // The first description says more than the health service: what is served, and whether the token is right.
        let mut told = self.condition().await?;
        let mut health = self.health().await?;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut is_serving = true;
        loop {
            tell(if is_serving { told } else { Condition::Draining });
            is_serving = select! {
                status = next_status(&mut health) => {
                    let status = status.map_err(|status| self.link.explain(&status))?;
                    status == ServingStatus::Serving
                }
                _ = ticks.tick() => is_serving,
            };
            told = self.condition().await?;
        }
    }

    /// Asks the node to describe itself.
    async fn condition(&self) -> Result<Condition, Failure> {
        let asked = Instant::now();
        let Ok(said) = timeout(ANSWERS_WITHIN, self.description()).await else {
            // The node may have been replaced by now: if its machine is lost, nobody closes the connection.
            self.link.forget_channel().await;
            let address = &self.link.config.address;
            let why = format!("{address} does not answer within {ANSWERS_WITHIN:?}");
            return Err(status::unavailable(why));
        };
        let (_, card, load) = said?;
        self.link.check_model(&card)?;
        let round_trip = asked.elapsed();
        Ok(Condition::Serving(Box::new(Serving { card: Some(card), load, round_trip })))
    }

    /// Opens the health service's stream. Returns `None` if the server has no such service.
    async fn health(&self) -> Result<Option<Streaming<HealthCheckResponse>>, Failure> {
        let mut client = HealthClient::new(self.link.channel().await?);
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        match timeout(ANSWERS_WITHIN, client.watch(self.link.request(request))).await {
            Ok(Ok(stream)) => Ok(Some(stream.into_inner())),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(None),
            Ok(Err(status)) => Err(self.link.explain(&status)),
            Err(_) => Err(self.link.silent()),
        }
    }
}

/// Waits for the next status from the health service; forever if there is no such service.
async fn next_status(
    health: &mut Option<Streaming<HealthCheckResponse>>,
) -> Result<ServingStatus, Status> {
    let Some(stream) = health else { return std::future::pending().await };
    let told = stream.message().await?;
    let told = told.ok_or_else(|| Status::unavailable("the node ended its health service"))?;
    Ok(told.status())
}
