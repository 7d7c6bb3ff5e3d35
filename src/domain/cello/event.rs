//! What each command is called once it was carried out.

use super::{Command, Reply, command::Power};
use crate::domain::event::Subject;

impl Command {
    /// What happened if this was carried out, as far as the command itself knows.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::AddHost(host) => Subject::of("host_added", &host.name),
            Self::ChangeHost { host_id, .. } => Subject::of("host_changed", host_id),
            Self::RemoveHost { host_id, .. } => Subject::of("host_removed", host_id),
            Self::FillHost { host_id, .. } => Subject::of("host_filled", host_id),
            Self::CleanHost { host_id } => Subject::of("host_cleaned", host_id),
            Self::ResetHost { host_id } => Subject::of("host_reset_started", host_id),
            Self::CreateCluster(cluster) => Subject::of("cluster_planned", &cluster.name),
            Self::DeleteCluster { cluster_id, .. } => Subject::of("cluster_deleted", cluster_id),
            Self::DropReleased { cluster_id } => Subject::of("released_dropped", cluster_id),
            Self::Apply { user_id, .. } => Subject::of("cluster_applied", user_id),
            Self::Release { cluster_id, .. } => Subject::of("cluster_released", cluster_id),
            Self::ReleaseUser { user_id } => Subject::of("cluster_released", user_id),
            Self::Power { cluster_id, power, .. } => {
                let kind = match power {
                    Power::Start => "start_begun",
                    Power::Stop => "stop_begun",
                    Power::Restart => "restart_begun",
                };
                Subject::of(kind, cluster_id)
            }
            Self::PutTemplate(template) => Subject::of("template_put", &template.kind.plugin),
            Self::RemoveTemplate { kind } => Subject::of("template_removed", &kind.plugin),
            Self::ChangeSettings(_) => Subject::whole("settings_changed"),
            Self::ReportHost { host_id, .. } => Subject::of("host_reported", host_id),
            Self::ReportHealth { .. } => Subject::whole("health_reported"),
            Self::ResetCluster { cluster_id, .. } => Subject::of("cluster_reset", cluster_id),
            Self::ClusterCreated { cluster_id, .. } => Subject::of("cluster_created", cluster_id),
            Self::ClusterDestroyed { cluster_id, .. } => {
                Subject::of("cluster_destroyed", cluster_id)
            }
            Self::PowerDone { cluster_id, .. } => Subject::of("power_done", cluster_id),
            Self::OperationFailed { cluster_id, .. } => Subject::of("operation_failed", cluster_id),
            Self::HostTaskDone { host_id, .. } => Subject::of("host_task_done", host_id),
            Self::HostTaskFailed { host_id, .. } => Subject::of("host_task_failed", host_id),
        }
    }
}

impl Reply {
    /// What happened, now that the ids of what was made or taken are known. Nothing did if the
    /// reply says so.
    pub(in crate::domain) fn subjects(&self, subject: Subject) -> Vec<Subject> {
        match self {
            Self::Unchanged => Vec::new(),
            Self::Host(host) => vec![Subject::of(subject.kind, &host.id)],
            Self::Cluster(cluster) => vec![Subject::of(subject.kind, &cluster.id)],
            Self::Clusters(ids) => {
                // What happens to a host happens to its clusters, too.
                let kind = match subject.kind {
                    "host_filled" => "cluster_planned",
                    "host_cleaned" => "cluster_deleted",
                    kind => kind,
                };
                let is_only_of_clusters = kind == subject.kind && !ids.is_empty();
                let whole = (!is_only_of_clusters).then_some(subject);
                whole.into_iter().chain(ids.iter().map(|id| Subject::of(kind, id))).collect()
            }
            Self::Done | Self::Power { .. } | Self::HostTask { .. } => vec![subject],
        }
    }
}
