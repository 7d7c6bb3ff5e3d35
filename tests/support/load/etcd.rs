//! etcd, with the same questions. Of its interface only what is asked here is described; numbers
//! of fields and methods are those of etcd's `rpc.proto`.

use axum::http::uri::PathAndQuery;
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::Failure;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    /// From the member that is asked, as local reads of a replica are.
    #[prost(bool, tag = "7")]
    serializable: bool,
}

/// Both answers begin with a header; what else they hold is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(int64, tag = "3")]
    revision: i64,
}

/// A connection.
pub(crate) struct Session {
    grpc: Grpc<Channel>,
}

impl Session {
    /// Connects to `host:port`.
    pub(crate) async fn open(target: &str) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{target}"))?.tcp_nodelay(true);
        Ok(Self { grpc: Grpc::new(endpoint.connect().await?) })
    }

    /// Puts a value. Bytes of the answer are not counted.
    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<u64, Failure> {
        let put = PutRequest { key: key.into(), value: value.into() };
        self.ask(PUT, put).await
    }

    /// Gets a value.
    pub(crate) async fn get(&mut self, key: &str) -> Result<u64, Failure> {
        let range = RangeRequest { key: key.into(), serializable: true };
        self.ask(RANGE, range).await
    }

    async fn ask<T>(&mut self, method: &'static str, message: T) -> Result<u64, Failure>
    where
        T: prost::Message + Send + Sync + 'static,
    {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<T, Answer>::default();
        let answer = self.grpc.unary(Request::new(message), path, codec).await?;
        match answer.into_inner().header {
            Some(header) if header.revision > 0 => Ok(0),
            _ => Err("etcd answered without a revision".into()),
        }
    }
}
