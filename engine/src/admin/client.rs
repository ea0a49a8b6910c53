//! The command line's side of the admin socket.
//!
//! One connection for all the calls of a command, answers bounded in size, every failure one
//! sentence that says whether the daemon could be reached.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::ApiError;
use super::model::{
    DrainQuery, DrainReply, ExplainQuery, Explanation, Fault, Peer, PeersQuery, PoliciesQuery,
    Policy, RefreshQuery, RefreshReply, ResetQuery, ResetReply, RoutesQuery, RoutesReply,
    RpkiCache, RpkiQuery, WatchEvent, WatchQuery,
};

/// A connection to a running daemon.
pub struct Client {
    path: PathBuf,
    sender: SendRequest<Full<Bytes>>,
}

/// Why there is no answer: one sentence with the mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("{0}")]
    Unreachable(String),
    /// The daemon answers, but not with what was asked for.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to the daemon that listens on `path`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if nobody answers there or this user may not ask.
    pub async fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| unreachable(path, &error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unanswered(path, &error))?;
        tokio::spawn(connection);
        Ok(Client {
            path: path.to_owned(),
            sender,
        })
    }

    /// The sessions.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn peers(&mut self, query: &PeersQuery) -> Result<Vec<Peer>, ClientError> {
        self.call("peers", query).await
    }

    /// One page of a table.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn routes(&mut self, query: &RoutesQuery) -> Result<RoutesReply, ClientError> {
        self.call("routes", query).await
    }

    /// Why a prefix is announced, or not.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn explain(&mut self, query: &ExplainQuery) -> Result<Vec<Explanation>, ClientError> {
        self.call("explain", query).await
    }

    /// Resets sessions.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn reset(&mut self, query: &ResetQuery) -> Result<ResetReply, ClientError> {
        self.call("reset", query).await
    }

    /// Has peers asked for their routes again.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn refresh(&mut self, query: &RefreshQuery) -> Result<RefreshReply, ClientError> {
        self.call("refresh", query).await
    }

    /// Hands on what happens until `each` fails or the daemon goes away.
    ///
    /// # Errors
    /// As [`ClientError`] says, or what `each` said.
    pub async fn watch<E: From<ClientError>>(
        &mut self,
        query: &WatchQuery,
        mut each: impl FnMut(WatchEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.send("watch", query).await?;
        if response.status() != StatusCode::OK {
            let error = self.read::<()>(response).await.err();
            return Err(error.unwrap_or_else(|| self.strange("no error")).into());
        }
        let mut body = response.into_body();
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unanswered(&self.path, &error))?;
            for octet in frame.into_data().unwrap_or_default() {
                if octet != b'\n' {
                    line.push(octet);
                    continue;
                }
                let event = serde_json::from_slice(&line);
                each(event.map_err(|error| self.strange(&error.to_string()))?)?;
                line.clear();
            }
            if line.len() > ANSWER_OCTETS_MAX {
                return Err(self.strange("a line without an end").into());
            }
        }
        Err(ClientError::Unreachable(format!(
            "the daemon on {} stopped; start it again and watch again",
            self.path.display()
        ))
        .into())
    }

    /// Drains peers, or lets them come up again.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn drain(&mut self, query: &DrainQuery) -> Result<DrainReply, ClientError> {
        self.call("drain", query).await
    }

    /// What the route policies compiled to, and their hits.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn policies(&mut self, query: &PoliciesQuery) -> Result<Vec<Policy>, ClientError> {
        self.call("policies", query).await
    }

    /// The caches of the RPKI.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn rpki(&mut self, query: &RpkiQuery) -> Result<Vec<RpkiCache>, ClientError> {
        self.call("rpki", query).await
    }

    /// What is wrong at this moment, in the resources or in what cannot be done as they ask.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn faults(&mut self) -> Result<Vec<Fault>, ClientError> {
        self.call("faults", &()).await
    }

    async fn call<Q: Serialize, R: DeserializeOwned>(
        &mut self,
        name: &str,
        query: &Q,
    ) -> Result<R, ClientError> {
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(name, query))
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Unreachable(format!(
                    "the daemon on {} took the question and gave no answer within {} s; look at \
                     its log",
                    self.path.display(),
                    ANSWER_WITHIN.as_secs()
                )))
            })
    }

    async fn exchange<Q: Serialize, R: DeserializeOwned>(
        &mut self,
        name: &str,
        query: &Q,
    ) -> Result<R, ClientError> {
        let response = self.send(name, query).await?;
        self.read(response).await
    }

    async fn send<Q: Serialize>(
        &mut self,
        name: &str,
        query: &Q,
    ) -> Result<Response<Incoming>, ClientError> {
        let body = serde_json::to_vec(query).map_err(|error| self.strange(&error.to_string()))?;
        let request = Request::post(format!("/v1/{name}"))
            .header(header::HOST, "ringbgp")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.strange(&error.to_string()))?;
        self.sender
            .send_request(request)
            .await
            .map_err(|error| unanswered(&self.path, &error))
    }

    async fn read<R: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<R, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX)
            .collect()
            .await
            .map_err(|error| self.strange(&error.to_string()))?
            .to_bytes();
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()));
        }
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(error) => Err(ClientError::Refused(error.to_string())),
            Err(_) => Err(self.strange(&format!("HTTP status {status}"))),
        }
    }

    fn strange(&self, what: &str) -> ClientError {
        ClientError::Refused(format!(
            "the answer on {} is not understood ({what}); use the same version of ringbgp as the \
             daemon's",
            self.path.display()
        ))
    }
}

fn unreachable(path: &Path, error: &io::Error) -> ClientError {
    let path = path.display();
    ClientError::Unreachable(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the daemon's socket {path} is not open to this user; run as the daemon's user or root"
        ),
        _ => format!(
            "no daemon answers on {path} ({error}); start it with `ringbgp run`, or name its \
             socket with --admin"
        ),
    })
}

fn unanswered(path: &Path, error: &hyper::Error) -> ClientError {
    ClientError::Unreachable(format!(
        "the daemon on {} went away while it was asked ({error}); ask again, or look at its log",
        path.display()
    ))
}

/// Shards answer within milliseconds; past this something is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Far above a page of routes or the sessions of a full shard.
const ANSWER_OCTETS_MAX: usize = 64 * 1024 * 1024;
