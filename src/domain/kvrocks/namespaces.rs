//! Namespaces: names that clusters are kept under.

use super::{Rejection, Reply, State, name, state::Namespace};

impl State {
    pub(super) fn create_namespace(&mut self, namespace: String) -> Result<Reply, Rejection> {
        name::judge_namespace(&namespace)?;
        if self.namespaces.contains_key(&namespace) {
            return Err(Rejection::NamespaceExists);
        }
        self.namespaces.insert(namespace, Namespace::default());
        Ok(Reply::Done)
    }

    pub(super) fn delete_namespace(&mut self, namespace: &str) -> Result<Reply, Rejection> {
        let clusters = self.namespaces.get(namespace).ok_or(Rejection::NamespaceNotFound)?;
        if !clusters.is_empty() {
            return Err(Rejection::NamespaceNotEmpty);
        }
        self.namespaces.remove(namespace);
        Ok(Reply::Done)
    }
}
