//! What is done with a request once its route is known: read one state, or propose one command.

use std::sync::Arc;

use axum::{
    body::Body as HttpBody,
    http::{Response, StatusCode, header::CONTENT_TYPE, request::Parts},
};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Family, Visit,
    body::Body,
    create,
    error::{Failure, JSON},
    failover, import, load, migrate, operate, rehearse,
    route::{ClusterRoute, Route},
    status,
    wire::{self, Data, Look, Passwords},
};
use crate::{
    api::{
        limit::{BODY_BYTES_MAX, read_body},
        profile::Profile,
    },
    broker::{Done, ReadMode, RequestId, View},
    domain::{
        self,
        kvrocks::{
            Command, Rejection, Reply, Secret,
            command::{ClusterKey, NewNode},
            model::{Cluster, NODE_ID_LEN, Shard},
            query,
            slots::integer,
        },
    },
};

/// One request with what its handlers need.
pub(super) struct Ask<'a> {
    pub(super) family: &'a Family,
    pub(super) visit: &'a Visit,
    pub(super) head: &'a Parts,
}

pub(super) type Answer = Result<Response<HttpBody>, Failure>;

/// Answers a request.
pub(super) async fn handle(
    family: &Family,
    visit: &Visit,
    route: Route,
    head: &Parts,
    body: HttpBody,
) -> Answer {
    let ask = Ask { family, visit, head };
    let body = read_body(&head.headers, body, BODY_BYTES_MAX, visit.call.deadline).await?;
    match route {
        Route::Namespaces => {
            let view = ask.view().await?;
            let namespaces = query::namespaces(&view.kvrocks);
            ask.shown(&view, &wire::NamespacesJson { namespaces })
        }
        Route::CreateNamespace => {
            let namespace = Body::parse(&body)?.text("namespace")?;
            let command = Command::CreateNamespace { namespace: namespace.clone() };
            let (_, done) = ask.propose(command).await?;
            ask.created(&done, &wire::NamespaceJson { namespace: &namespace })
        }
        Route::Namespace(namespace) => show_namespace(&ask, &namespace).await,
        Route::DeleteNamespace(namespace) => {
            ask.removed(Command::DeleteNamespace { namespace }).await
        }
        Route::Clusters(namespace) => {
            let view = ask.view().await?;
            let clusters = query::cluster_names(&view.kvrocks, &namespace);
            let clusters = clusters.ok_or(Rejection::NamespaceRequired)?;
            ask.shown(&view, &wire::ClustersJson { clusters })
        }
        Route::CreateCluster(namespace) => create::create(&ask, namespace, &body).await,
        Route::Cluster(key, ClusterRoute::Import) => import::import(&ask, key, &body).await,
        Route::Cluster(key, route) => of_cluster(&ask, key, route, &body).await,
        Route::Leader => operate::leader(&ask),
        Route::Peers => operate::peers(&ask),
        Route::ChangePeers => operate::change_peers(&ask, &body).await,
        Route::Settings => operate::settings(&ask).await,
        Route::ChangeSettings => operate::change_settings(&ask, &body).await,
        Route::Observers => operate::observers(&ask).await,
        Route::Load => load::load(&ask, &body).await,
        Route::Export => load::export(&ask).await,
        Route::Status => status::summary(&ask).await,
        Route::ClusterStatus(key) => status::detail(&ask, &key).await,
    }
}

/// The documents call this "delete"; a read never deletes (spec 2.8).
async fn show_namespace(ask: &Ask<'_>, namespace: &str) -> Answer {
    let view = ask.view().await?;
    if !query::has_namespace(&view.kvrocks, namespace) {
        return Err(Rejection::NamespaceNotFound.into());
    }
    match ask.visit.profile {
        Profile::Document => ask.shown(&view, &"ok"),
        Profile::Program => ask.shown(&view, &()),
    }
}

async fn of_cluster(ask: &Ask<'_>, key: ClusterKey, route: ClusterRoute, body: &Bytes) -> Answer {
    match route {
        ClusterRoute::Show
        | ClusterRoute::Shards
        | ClusterRoute::Shard(_)
        | ClusterRoute::Nodes(_)
        | ClusterRoute::Migrations
        | ClusterRoute::Migration(_)
        | ClusterRoute::Failovers => show(ask, &key, &route).await,
        ClusterRoute::Delete => ask.removed(Command::DeleteCluster { cluster: key }).await,
        // Has no namespace gate in common with the others; see the caller.
        ClusterRoute::Import => import::import(ask, key, body).await,
        ClusterRoute::Migrate => migrate::migrate(ask, key, body).await,
        ClusterRoute::AddShard => add_shard(ask, key, body).await,
        ClusterRoute::RemoveShard(shard) => {
            ask.gate(&key).await?;
            let shard = index(&shard)?;
            let command = Command::RemoveShard { cluster: key.clone(), shard };
            match ask.is_rehearsal() {
                true => rehearse::answer(ask, &key, command).await,
                false => ask.removed(command).await,
            }
        }
        ClusterRoute::FailOver(shard) => failover::fail_over(ask, key, &shard, body).await,
        ClusterRoute::AddNode(shard) => add_node(ask, key, &shard, body).await,
        ClusterRoute::RemoveNode(shard, node_id) => {
            let shard = ask.index(&key, &shard).await?;
            let (namespace, cluster) = (key.namespace.clone(), key.name.clone());
            let node = node_id.clone();
            let answer = ask.removed(Command::RemoveNode { cluster: key, shard, node_id }).await?;
            tracing::warn!(namespace, cluster, node, "a removed node is not told and goes on");
            Ok(answer)
        }
        ClusterRoute::QueueMigrations => migrate::queue(ask, key, body).await,
        ClusterRoute::CancelMigration(job) => {
            let job = job_id(&job)?;
            ask.removed(Command::CancelMigration { cluster: key, job }).await
        }
        ClusterRoute::RetryMigration(job) => migrate::retry(ask, key, job_id(&job)?).await,
        ClusterRoute::Sync => operate::sync(ask, key, body).await,
        ClusterRoute::Password => operate::change_password(ask, key, body).await,
    }
}

/// Ids of jobs are numbers; anything else names none.
fn job_id(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Rejection::JobNotFound.into())
}

async fn show(ask: &Ask<'_>, key: &ClusterKey, route: &ClusterRoute) -> Answer {
    let view = ask.view().await?;
    let cluster = query::cluster(&view.kvrocks, key).ok_or(Rejection::ClusterNotFound)?;
    let look = ask.look(&view);
    match route {
        ClusterRoute::Shards => {
            ask.shown(&view, &wire::ShardsAnswer { shards: wire::shards(&cluster, look)? })
        }
        ClusterRoute::Shard(text) => {
            let (index, shard) = shard_of(&cluster, text)?;
            let shard = wire::ShardJson::new(&cluster, shard, index, look)?;
            ask.shown(&view, &wire::ShardAnswer { shard })
        }
        ClusterRoute::Nodes(text) => {
            let (_, shard) = shard_of(&cluster, text)?;
            let nodes = shard.nodes.iter().map(|node| wire::NodeJson::new(node, look, false));
            ask.shown(&view, &wire::NodesAnswer { nodes: nodes.collect::<Result<_, _>>()? })
        }
        ClusterRoute::Migrations => {
            let migrations = cluster.jobs.iter().map(wire::JobJson::from).collect();
            ask.shown(&view, &wire::MigrationsAnswer { migrations })
        }
        ClusterRoute::Migration(id) => {
            let job = cluster.job(job_id(id)?).ok_or(Rejection::JobNotFound)?;
            ask.shown(&view, &wire::MigrationAnswer { migration: job.into() })
        }
        ClusterRoute::Failovers => {
            let failovers = cluster.failovers.iter().map(wire::FailoverJson::from).collect();
            ask.shown(&view, &wire::FailoversAnswer { failovers })
        }
        _ => {
            let cluster = wire::ClusterJson::new(&cluster, look)?;
            ask.shown(&view, &wire::ClusterAnswer { cluster })
        }
    }
}

/// The shard a path segment names.
pub(super) fn shard_of<'a>(
    cluster: &'a Cluster,
    text: &str,
) -> Result<(usize, &'a Shard), Failure> {
    let index = index(text)?;
    let shard = cluster.shard(index).ok_or(Rejection::IndexOutOfRange)?;
    Ok((usize::try_from(index).unwrap_or_default(), shard))
}

fn index(text: &str) -> Result<i64, Failure> {
    integer(text).map_err(|error| Failure::BadRequest(error.to_string()))
}

async fn add_shard(ask: &Ask<'_>, key: ClusterKey, body: &Bytes) -> Answer {
    let look = ask.gate(&key).await?.of_done();
    let body = Body::parse(body)?;
    let nodes = ask.new_nodes(&key, body.texts("nodes")?);
    let password = Secret::new(body.text("password")?);
    let (reply, done) = ask.propose(Command::AddShard { cluster: key, nodes, password }).await?;
    let Reply::Shard(shard) = reply else { return Err(unexpected(&reply)) };
    // No slots, no marks: what the rest of the cluster does cannot show in it.
    let shard = wire::ShardJson::new(&Cluster::default(), &shard, 0, look)?;
    ask.created(&done, &wire::ShardAnswer { shard })
}

async fn add_node(ask: &Ask<'_>, key: ClusterKey, shard: &str, body: &Bytes) -> Answer {
    let shard = ask.index(&key, shard).await?;
    let body = Body::parse(body)?;
    let addr = body.text("addr")?;
    if addr.is_empty() {
        let text = "Key: 'Addr' Error:Field validation for 'Addr' failed on the 'required' tag";
        return Err(Failure::BadRequest(text.to_owned()));
    }
    let (role, password) = (body.text("role")?, Secret::new(body.text("password")?));
    let node = NewNode { id: ask.node_id(&key, &addr), addr };
    let command = Command::AddNode { cluster: key, shard, node, role, password };
    let (reply, done) = ask.propose(command).await?;
    let Reply::NodeAdded { id } = reply else { return Err(unexpected(&reply)) };
    ask.created(&done, &id)
}

/// A reply that does not belong to its command.
pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::Answer(format!("unexpected reply: {reply:?}"))
}

impl Ask<'_> {
    /// The state, as current as the request asks.
    pub(super) async fn view(&self) -> Result<View, Failure> {
        Ok(self.family.edge.view(self.visit).await?)
    }

    /// The state with everything that was committed when the request came: what is decided before
    /// a command is proposed is decided on this.
    pub(super) async fn current(&self) -> Result<View, Failure> {
        let deadline = self.visit.call.deadline;
        Ok(self.family.edge.broker.view(ReadMode::Linearizable, deadline).await?)
    }

    /// How answers from this state look.
    pub(super) fn look(&self, view: &View) -> Look<'_> {
        let passwords = match query::settings(&view.kvrocks).hides_passwords {
            true => Passwords::Hidden,
            false => Passwords::Shown(self.family.edge.broker.keys()),
        };
        Look { profile: self.visit.profile, passwords }
    }

    /// Refuses an unknown cluster before anything else is judged.
    pub(super) async fn gate(&self, key: &ClusterKey) -> Result<Look<'_>, Failure> {
        Ok(self.cluster(key).await?.1)
    }

    /// The cluster as it is now.
    pub(super) async fn cluster(
        &self,
        key: &ClusterKey,
    ) -> Result<(Arc<Cluster>, Look<'_>, View), Failure> {
        let view = self.current().await?;
        let cluster = query::cluster(&view.kvrocks, key).ok_or(Rejection::ClusterNotFound)?;
        let look = self.look(&view);
        Ok((cluster, look, view))
    }

    /// Refuses an unknown cluster, then an index that is none or out of range.
    async fn index(&self, key: &ClusterKey, text: &str) -> Result<i64, Failure> {
        let (cluster, ..) = self.cluster(key).await?;
        let (index, _) = shard_of(&cluster, text)?;
        i64::try_from(index).map_err(|_| Rejection::IndexOutOfRange.into())
    }

    /// Whether the request only wants to know what would happen.
    pub(super) fn is_rehearsal(&self) -> bool {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        pairs.into_iter().any(|pair| matches!(pair, "dry_run=true" | "dry_run=1" | "dry_run"))
    }

    /// Has a command applied; refusals are failures.
    pub(super) async fn propose(&self, command: Command) -> Result<(Reply, Done), Failure> {
        self.propose_until(command, self.visit.call.deadline).await
    }

    /// As [`Ask::propose`], with another deadline.
    pub(super) async fn propose_until(
        &self,
        command: Command,
        deadline: tokio::time::Instant,
    ) -> Result<(Reply, Done), Failure> {
        // Who asks for a rehearsal must never get the play.
        if self.is_rehearsal() {
            return Err(Failure::BadRequest("dry_run is not offered here".to_owned()));
        }
        let call = crate::broker::Call { deadline, ..self.visit.call.clone() };
        let done =
            self.family.edge.broker.propose(&call, domain::Command::Kvrocks(command)).await?;
        match &done.reply {
            domain::Reply::Kvrocks(Err(rejection)) => Err(rejection.clone().into()),
            domain::Reply::Kvrocks(Ok(_)) if !done.is_visible => Err(Failure::NotVisible),
            domain::Reply::Kvrocks(Ok(reply)) => Ok((reply.clone(), done)),
            other => Err(Failure::Answer(format!("reply of another family: {other:?}"))),
        }
    }

    /// Ids for new nodes. They follow from the request's id, so that a repeated request asks for
    /// the same nodes; who does not know the request cannot guess them.
    pub(super) fn new_nodes(&self, key: &ClusterKey, addresses: Vec<String>) -> Vec<NewNode> {
        let node = |addr: String| NewNode { id: self.node_id(key, &addr), addr };
        addresses.into_iter().map(node).collect()
    }

    fn node_id(&self, key: &ClusterKey, addr: &str) -> String {
        const LETTERS: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let RequestId(request) = self.request_id();
        let mut id = String::with_capacity(NODE_ID_LEN);
        for round in 0_u8.. {
            let mut hasher = Sha256::new();
            for part in [&request[..], &[round], key.namespace.as_bytes(), key.name.as_bytes()] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            hasher.update(addr);
            // Bytes beyond the last full round of letters would favour some of them.
            let even = hasher.finalize().into_iter().filter(|byte| *byte < 248);
            id.extend(even.map(|byte| char::from(LETTERS[usize::from(byte % 62)])));
            if id.len() >= NODE_ID_LEN {
                break;
            }
        }
        id.truncate(NODE_ID_LEN);
        id
    }

    /// The id of the wish; every change has one.
    pub(super) fn request_id(&self) -> RequestId {
        let fresh = || self.family.edge.broker.new_request_id();
        self.visit.call.request_id.unwrap_or_else(fresh)
    }

    /// 200 with data from a state.
    pub(super) fn shown<T: Serialize + ?Sized>(&self, view: &View, data: &T) -> Answer {
        let mut response = encode(StatusCode::OK, data)?;
        response.extensions_mut().insert(view.position());
        Ok(response)
    }

    /// 201 with what was made; the documents say only that it was.
    pub(super) fn created<T: Serialize + ?Sized>(&self, done: &Done, data: &T) -> Answer {
        let response = match self.visit.profile {
            Profile::Document => encode(StatusCode::CREATED, "created"),
            Profile::Program => encode(StatusCode::CREATED, data),
        };
        self.marked(response?, done)
    }

    /// Has a command applied that takes something away: 204, or 200 `"ok"` in the documents.
    pub(super) async fn removed(&self, command: Command) -> Answer {
        let (_, done) = self.propose(command).await?;
        let response = match self.visit.profile {
            Profile::Document => encode(StatusCode::OK, "ok")?,
            Profile::Program => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
        };
        self.marked(response, &done)
    }

    /// 200 with data, or `"ok"` in the documents.
    pub(super) fn done<T: Serialize + ?Sized>(&self, done: &Done, data: &T) -> Answer {
        let response = match self.visit.profile {
            Profile::Document => encode(StatusCode::OK, "ok"),
            Profile::Program => encode(StatusCode::OK, data),
        };
        self.marked(response?, done)
    }

    /// Tells the shared layers at which log index the change took place.
    pub(super) fn marked(&self, mut response: Response<HttpBody>, done: &Done) -> Answer {
        let mut position = self.family.edge.broker.latest().position();
        position.index = done.index;
        response.extensions_mut().insert(position);
        Ok(response)
    }
}

/// `{"data": X}`.
pub(super) fn encode<T: Serialize + ?Sized>(status: StatusCode, data: &T) -> Answer {
    let bytes = serde_json::to_vec(&Data { data });
    let bytes = bytes.map_err(|error| Failure::Answer(error.to_string()))?;
    let mut response = Response::new(HttpBody::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}
