//! What a verb is about: namespace, cluster, shard; and the paths that follow.

use clap::Args;

pub(super) use super::session::segment;

/// Where the subject of a verb is. All verbs take all of it, as the original's client does; what a
/// verb needs and does not get is told in the original's words.
#[derive(Debug, Args)]
pub(super) struct Scope {
    /// Namespace.
    #[arg(short, long, global = true)]
    pub(super) namespace: Option<String>,
    /// Cluster in the namespace.
    #[arg(short, long, global = true)]
    pub(super) cluster: Option<String>,
    /// Index of a shard in the cluster.
    #[arg(short, long, global = true)]
    pub(super) shard: Option<String>,
}

impl Scope {
    /// Path of the clusters of the namespace.
    pub(super) fn clusters(&self) -> Result<String, String> {
        let namespace = given(self.namespace.as_deref(), "namespace", "-n")?;
        Ok(format!("{}/clusters", namespace_path(namespace)))
    }

    /// Path of a cluster that is named elsewhere.
    pub(super) fn cluster_named(&self, name: &str) -> Result<String, String> {
        Ok(format!("{}/{}", self.clusters()?, segment(name)))
    }

    /// Path of the cluster.
    pub(super) fn cluster(&self) -> Result<String, String> {
        let (_, cluster) = self.cluster_names()?;
        self.cluster_named(cluster)
    }

    /// Namespace and cluster.
    pub(super) fn cluster_names(&self) -> Result<(&str, &str), String> {
        let namespace = given(self.namespace.as_deref(), "namespace", "-n")?;
        Ok((namespace, given(self.cluster.as_deref(), "cluster", "-c")?))
    }

    /// Path of a shard whose index may be given elsewhere, and the index.
    pub(super) fn shard_or<'a>(
        &'a self,
        index: Option<&'a str>,
    ) -> Result<(String, &'a str), String> {
        let cluster = self.cluster()?;
        let index = given(index.or(self.shard.as_deref()), "shard", "-s")?;
        Ok((format!("{cluster}/shards/{}", segment(index)), index))
    }
}

fn given<'a>(value: Option<&'a str>, noun: &str, short: &str) -> Result<&'a str, String> {
    let missing =
        || format!("missing {noun}, please specify the {noun} via {short} or --{noun} option");
    value.filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// Nodes that a verb cannot do without.
pub(super) fn given_nodes(nodes: &[String]) -> Result<&[String], String> {
    let missing = || "missing nodes, please specify the nodes via --nodes option".to_owned();
    if nodes.iter().all(String::is_empty) { Err(missing()) } else { Ok(nodes) }
}

/// Path of a namespace.
pub(super) fn namespace_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}", segment(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(namespace: &str, cluster: &str, shard: &str) -> Scope {
        let some = |text: &str| Some(text.to_owned()).filter(|text| text != "none");
        Scope { namespace: some(namespace), cluster: some(cluster), shard: some(shard) }
    }

    #[test]
    fn paths_follow_from_what_is_given() {
        let full = scope("a b", "c/d", "1");
        assert_eq!(full.cluster().unwrap(), "/api/v1/namespaces/a%20b/clusters/c%2Fd");
        let (path, index) = full.shard_or(Some("2")).unwrap();
        assert_eq!((path.ends_with("/shards/2"), index), (true, "2"));
        assert_eq!(full.shard_or(None).unwrap().1, "1");
    }

    #[test]
    fn what_is_missing_is_told_in_the_words_of_the_original() {
        for (scope, expected) in [
            (
                scope("none", "c", "1"),
                "missing namespace, please specify the namespace via -n or --namespace option",
            ),
            (
                scope("n", "none", "1"),
                "missing cluster, please specify the cluster via -c or --cluster option",
            ),
            (
                scope("n", "c", "none"),
                "missing shard, please specify the shard via -s or --shard option",
            ),
        ] {
            assert_eq!(scope.shard_or(None).unwrap_err(), expected);
        }
        let missing = given_nodes(&[]).unwrap_err();
        assert_eq!(missing, "missing nodes, please specify the nodes via --nodes option");
    }
}
