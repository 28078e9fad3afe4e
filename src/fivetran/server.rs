//! The connector as a server: each command is one start of it, on a port of its own (V2, V22).

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::client::{Broken, Client};
use super::feed::{Ending, Received};
use super::messages::{SchemaRequest, UpdateRequest};
use crate::error::{self, Stopped};
use crate::process::activity::Activity;
use crate::process::container::Container;
use crate::process::launch::{Launcher, Target, in_words};
use crate::process::listeners;
use crate::process::supervise::{Connector, End, Exit, Finished, Reading};
use crate::upstream::{ErrorLog, SourceError};

/// How often it is tried whether the connector accepts connections.
const RETRY: Duration = Duration::from_millis(20);

/// How often a container engine is asked for a port: each time starts a process.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long a connector in a container may take to answer once it listens.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a broken connection waits for the connector's exit, which may explain it.
const EXIT: Duration = Duration::from_secs(10);

/// The port of a connector in a container: nobody else is there.
const CONTAINER_PORT: u16 = 50051;

/// A started connector, as its clients see it.
pub struct Server {
    address: Address,
    /// Whether it has exited.
    exited: watch::Receiver<bool>,
}

/// Where a connector listens.
enum Address {
    /// On a port of this machine that was free.
    Own(u16),
    /// In a container, whose engine publishes the port once it runs, and tells as which one.
    Container(Container, Option<u16>),
}

/// Starts the connector.
pub async fn start(launcher: &Launcher) -> Result<(Connector, Server)> {
    let port = match launcher.target {
        Target::Command(_) => free_port().context("can't find a free port for the connector")?,
        Target::Image(_) => CONTAINER_PORT,
    };
    let prepared = launcher.prepare_to_serve(port).await?;
    let address = match prepared.container.clone() {
        Some(container) => Address::Container(container, None),
        None => Address::Own(port),
    };
    let mut connector = prepared.start(vec!["--port".to_owned(), port.to_string()]).await?;
    let exited = connector.serve();
    Ok((connector, Server { address, exited }))
}

/// A port on which nothing listens.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Starts the connector, has it answer, and stops it. `what` is what it is asked for.
pub async fn ask<T>(launcher: &Launcher, what: &str, talk: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
    let (connector, mut server) = start(launcher).await?;
    let activity = Activity::default();
    let reader = async {
        let answer = match server.connect().await {
            Ok(client) => talk(client).await,
            Err(failure) => Err(failure),
        };
        if is_broken(&answer) {
            server.wait_for_exit().await;
        }
        Some((answer, Reading::Ended))
    };
    let limit = Some(launcher.idle_timeout);
    let Finished { end, output, stderr, files } =
        connector.supervise(&launcher.shutdown, &activity, limit, || (), reader).await?;
    files.close(launcher.shutdown.deadline()).await;
    match (end, output) {
        (End::Stopped(reason), _) => Err(Stopped(reason).into()),
        (End::Silent, _) => Err(anyhow!(
            "the connector said nothing for {} when it was asked for {what}",
            in_words(launcher.idle_timeout)
        )),
        (_, Some(Ok(answer))) => Ok(answer),
        // What it says itself is better than how it ended.
        (End::Exited(exit), answer) if exit != Exit::Code(0) && answer.as_ref().is_none_or(is_broken) => {
            Err(ErrorLog::default().explain(exit, &stderr))
        }
        (_, Some(Err(failure))) => Err(failure),
        (_, None) => Err(anyhow!("the connector did not answer when it was asked for {what}")),
    }
}

const NEVER_SERVED: &str = "the connector exited before it served its port: does its command take `--port`, as connectors of Fivetran's Partner SDK do?";

const EXITED: &str = "the connector exited before the end of its sync";

fn is_broken<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(failure) if failure.is::<Broken>())
}

/// How much a batch of messages has at most before the last one, in bytes.
const BATCH: usize = 64 * 1024;

/// How much messages may take that nobody has read yet, in KiB. A longer message is received alone.
const MEMORY: usize = 8 * 1024;

/// Receives the messages of a sync in a task of its own.
pub fn receive(mut server: Server, request: UpdateRequest) -> mpsc::Receiver<Received> {
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let ending = match server.sync(&request, &sender).await {
            Ok(()) => Ending::Complete,
            Err(failure) if failure.is::<Broken>() => {
                let how = error::sentence(&failure);
                let exited = server.wait_for_exit().await;
                // This is shown if it exited with 0: any other end is explained better.
                Ending::Broken(if exited && how != NEVER_SERVED { EXITED.to_owned() } else { how })
            }
            Err(failure) => Ending::Failed(SourceError {
                message: error::sentence(&failure),
                stream: None,
                fields: error::fields(&failure),
            }),
        };
        // Without a reader nobody wants to know.
        let _ = sender.send(Received::Ended(ending)).await;
    });
    receiver
}

impl Server {
    /// Waits until the connector accepts connections.
    pub async fn connect(&mut self) -> Result<Client> {
        loop {
            let client = tokio::select! {
                biased;
                _ = self.exited.wait_for(|it| *it) => return Err(Broken(NEVER_SERVED.to_owned()).into()),
                client = self.address.connect() => client?,
            };
            match client {
                Some(client) => return Ok(client),
                None => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Receives the messages of a sync until they end, or nobody reads them any more.
    async fn sync(&mut self, request: &UpdateRequest, sender: &mpsc::Sender<Received>) -> Result<()> {
        let mut client = self.connect().await?;
        // V22: the Connector SDK sends values as they were declared only if this process was asked for the schema.
        client.schema(&SchemaRequest { configuration: request.configuration.clone() }).await?;
        let mut messages = client.update(request).await?;
        let memory = Arc::new(Semaphore::new(MEMORY));
        loop {
            // One is waited for; those that have arrived with it are handed over together.
            let mut next = Some(messages.next().await);
            let (mut batch, mut size, mut end) = (Vec::new(), 0, None);
            while let Some(it) = next {
                match it {
                    Ok(Some(message)) => {
                        size += message.len();
                        batch.push(message);
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(failure) => end = Some(Err(failure)),
                }
                next = if size < BATCH && end.is_none() { messages.arrived().await } else { None };
            }
            if !batch.is_empty() {
                let kib = u32::try_from((size / 1024 + 1).min(MEMORY)).unwrap_or(1);
                let held = memory.clone().acquire_many_owned(kib).await.context("can't receive messages")?;
                if sender.send(Received::Messages(batch, held)).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Whether it has exited.
    async fn wait_for_exit(&mut self) -> bool {
        timeout(EXIT, self.exited.wait_for(|it| *it)).await.is_ok()
    }
}

impl Address {
    /// A connection to the connector; `None` if it does not listen yet.
    async fn connect(&mut self) -> Result<Option<Client>> {
        match self {
            Self::Own(port) => {
                let Some(client) = Client::connect(*port).await else { return Ok(None) };
                // Another process may have taken the port, or share it: it must not get the config, nor may its rows get into
                // the capture.
                if !listeners::are_ours(*port) {
                    bail!("another process listens on port {port}, which was meant for the connector: try again");
                }
                Ok(Some(client))
            }
            Self::Container(container, port) => {
                if port.is_none() {
                    *port = container.published(CONTAINER_PORT).await?;
                }
                let Some(port) = *port else {
                    tokio::time::sleep(ASK_AGAIN).await;
                    return Ok(None);
                };
                let Some(mut client) = Client::connect(port).await else { return Ok(None) };
                // The engine accepts connections before the connector does: only an answer tells.
                let answer = timeout(ANSWER, client.configuration_form()).await;
                Ok(answer.is_ok_and(|it| !is_broken(&it)).then_some(client))
            }
        }
    }
}
