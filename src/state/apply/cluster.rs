//! Making the cluster and changing its settings.

use std::sync::Arc;

use super::{Applied, check_version};
use crate::spec::{ClusterSpec, NetworkSpec, Timestamp};
use crate::state::cluster::JoinTokens;
use crate::state::command::{InitCluster, Reply};
use crate::state::object::Meta;
use crate::state::rejected::{Kind, Rejected};
use crate::state::{Cluster, State};

impl State {
    pub(super) fn init_cluster(&mut self, index: u64, at: Timestamp, init: InitCluster) -> Applied {
        if self.cluster.is_some() {
            return Err(Rejected::ClusterExists);
        }
        self.cluster = Some(Arc::new(Cluster {
            id: init.id,
            meta: Meta::new(index, at),
            spec: init.spec,
            authority: init.authority,
            join_tokens: init.join_tokens,
            address_pools: init.address_pools,
            subnet_prefix: init.subnet_prefix,
            data_path_port: init.data_path_port,
            seed: init.seed,
        }));
        let node = init.first_node.id;
        self.add_node(index, at, init.first_node)?;
        self.set_member(index, at, node, Some(init.first_raft_id))?;
        let ingress = NetworkSpec {
            name: "ingress".to_owned(),
            ingress: true,
            ..NetworkSpec::default()
        };
        self.create_network(index, at, init.ingress, ingress)
    }

    pub(super) fn update_cluster(
        &mut self,
        index: u64,
        at: Timestamp,
        version: u64,
        spec: ClusterSpec,
        worker_token: Option<String>,
        manager_token: Option<String>,
    ) -> Applied {
        let cluster = self.cluster.as_mut().ok_or(Rejected::NoCluster)?;
        check_version(Kind::Cluster, "default", cluster.meta.version, version)?;
        let cluster = Arc::make_mut(cluster);
        cluster.spec = spec;
        cluster.join_tokens = JoinTokens {
            worker: worker_token.unwrap_or_else(|| cluster.join_tokens.worker.clone()),
            manager: manager_token.unwrap_or_else(|| cluster.join_tokens.manager.clone()),
        };
        cluster.meta.write(index, at);
        Ok(Reply::Written { version: index })
    }
}
