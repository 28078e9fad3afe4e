//! A client of the connector's service (V1): four calls over gRPC.

use std::error::Error as _;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::messages::{
    ConfigurationFormRequest, ConfigurationFormResponse, SchemaRequest, SchemaResponse, TestRequest, TestResponse,
    UpdateRequest,
};
use crate::error::Failure;
use crate::logging::Fields;

/// The longest message, both ways (V3).
const LONGEST: usize = 128 * 1024 * 1024;

/// How much of a sync the connector may send before it is read: HTTP/2's own 64 KiB make it wait for each batch.
const WINDOW: u32 = 1024 * 1024;

/// The longest headers: a status may have a traceback in it.
const HEADERS: u32 = 1024 * 1024;

/// How long the connection to a port of this machine may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The connection to the connector broke, or there never was one. The connector's end may explain it better.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

pub struct Client(Grpc<Channel>);

impl Client {
    /// Connects to a port of this machine; `None` if nothing listens there.
    pub async fn connect(port: u16) -> Option<Self> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).ok()?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_max_header_list_size(HEADERS)
            .tcp_nodelay(true);
        let channel = endpoint.connect().await.ok()?;
        let grpc = Grpc::new(channel).max_decoding_message_size(LONGEST).max_encoding_message_size(LONGEST);
        Some(Self(grpc))
    }

    pub async fn configuration_form(&mut self) -> Result<ConfigurationFormResponse> {
        self.call("/fivetran_sdk.v2.SourceConnector/ConfigurationForm", &ConfigurationFormRequest {}).await
    }

    pub async fn test(&mut self, request: &TestRequest) -> Result<TestResponse> {
        self.call("/fivetran_sdk.v2.SourceConnector/Test", request).await
    }

    pub async fn schema(&mut self, request: &SchemaRequest) -> Result<SchemaResponse> {
        self.call("/fivetran_sdk.v2.SourceConnector/Schema", request).await
    }

    /// Starts a sync.
    pub async fn update(&mut self, request: &UpdateRequest) -> Result<Messages> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/fivetran_sdk.v2.SourceConnector/Update");
        let request = Request::new(request.encode_to_vec());
        let response = self.0.server_streaming(request, path, Raw).await.map_err(|it| error_of(&it))?;
        Ok(Messages(response.into_inner()))
    }

    async fn call<M: Message + Default>(&mut self, path: &'static str, request: &impl Message) -> Result<M> {
        self.ready().await?;
        let request = Request::new(request.encode_to_vec());
        let response = self.0.unary(request, PathAndQuery::from_static(path), Raw).await.map_err(|it| error_of(&it))?;
        M::decode(response.into_inner())
            .map_err(|_| anyhow!("the connector's answer can't be read: does it speak version 2 of the protocol?"))
    }

    async fn ready(&mut self) -> Result<()> {
        self.0.ready().await.map_err(|error| Broken(format!("the connector can't be reached: {error}")).into())
    }
}

/// The messages of a sync.
pub struct Messages(Streaming<Bytes>);

impl Messages {
    /// The next message; `None` when the connector has sent all of them.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.message().await.map_err(|it| error_of(&it))
    }

    /// The same if it has arrived.
    pub async fn arrived(&mut self) -> Option<Result<Option<Bytes>>> {
        let mut next = pin!(self.next());
        poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(it) => Poll::Ready(Some(it)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

/// Requests are encoded already, and responses are left as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

/// V5. A status with a cause was made by the transport, one without came from the connector.
fn error_of(status: &Status) -> Error {
    if let Some(cause) = status.source() {
        return Broken(format!("the connection to the connector broke: {cause}")).into();
    }
    let mut fields = Fields::new();
    fields.insert("status".to_owned(), format!("{:?}", status.code()).into());
    if status.message().trim().contains('\n') {
        fields.insert("details".to_owned(), status.message().into());
    }
    Failure { message: sentence(status), fields }.into()
}

/// What a status says, in one sentence. Python's server adds a prefix and a traceback.
fn sentence(status: &Status) -> String {
    let text = status.message();
    let text = ["Exception iterating responses: ", "Exception calling application: "]
        .iter()
        .find_map(|it| text.strip_prefix(it))
        .unwrap_or(text);
    let line = text.lines().map(str::trim).find(|it| !it.is_empty()).unwrap_or("it gave no reason");
    match status.code() {
        Code::Unimplemented => {
            format!("the connector does not serve version 2 of Fivetran's Partner SDK protocol: {line}")
        }
        Code::OutOfRange if line.contains("length too large") => {
            "the connector sent a message of more than 128 MiB, the longest that the protocol allows".to_owned()
        }
        // Python's, for any exception.
        Code::Unknown => format!("the connector failed: {line}"),
        code => format!("the connector failed: {line} ({code:?})"),
    }
}
