//! Flags of `service update` that add to its containers' lists and remove from them.

use clap::Args;
use serde_json::Value;

use super::Resolved;
use crate::cli::failure::Failure;
use crate::cli::service::{create, merge, references};
use crate::spec::container::{ContainerSpec, Mount, Ulimit};
use crate::spec::parse::{self, FileReference};

#[derive(Debug, Default, Args)]
pub(super) struct ContainerLists {
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = parse::host)]
    host_add: Vec<String>,
    /// Remove a line from /etc/hosts
    #[arg(long, value_name = "NAME[:ADDRESS]")]
    host_rm: Vec<String>,
    /// Add a name server
    #[arg(long, value_name = "ADDRESS")]
    dns_add: Vec<String>,
    /// Remove a name server
    #[arg(long, value_name = "ADDRESS")]
    dns_rm: Vec<String>,
    /// Add a domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search_add: Vec<String>,
    /// Remove a domain to search
    #[arg(long, value_name = "DOMAIN")]
    dns_search_rm: Vec<String>,
    /// Add an option of the resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_add: Vec<String>,
    /// Remove an option of the resolver
    #[arg(long, value_name = "OPTION")]
    dns_option_rm: Vec<String>,
    /// Add or change an environment variable
    #[arg(long, value_name = "NAME[=VALUE]")]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "NAME")]
    env_rm: Vec<String>,
    /// Add or change a mount
    #[arg(long, value_name = "MOUNT", value_parser = parse::mount)]
    mount_add: Vec<Mount>,
    /// Remove a mount, by its target
    #[arg(long, value_name = "TARGET")]
    mount_rm: Vec<String>,
    /// Add or change a secret
    #[arg(long, value_name = "SECRET", value_parser = parse::file_reference)]
    pub(super) secret_add: Vec<FileReference>,
    /// Remove a secret
    #[arg(long, value_name = "NAME")]
    secret_rm: Vec<String>,
    /// Add or change a config
    #[arg(long, value_name = "CONFIG", value_parser = parse::file_reference)]
    pub(super) config_add: Vec<FileReference>,
    /// Remove a config
    #[arg(long, value_name = "NAME")]
    config_rm: Vec<String>,
    /// Add a group of the user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Remove a group of the user
    #[arg(long, value_name = "GROUP")]
    group_rm: Vec<String>,
    /// Add a capability; one that was dropped is only not dropped any more
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_add: Vec<String>,
    /// Drop a capability; one that was added is only not added any more
    #[arg(long, value_name = "CAPABILITY", value_parser = parse::capability)]
    cap_drop: Vec<String>,
    /// Add or change a kernel parameter
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::sysctl)]
    sysctl_add: Vec<(String, String)>,
    /// Remove a kernel parameter
    #[arg(long, value_name = "NAME")]
    sysctl_rm: Vec<String>,
    /// Add or change a limit of a process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = parse::ulimit)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a limit of a process
    #[arg(long, value_name = "NAME")]
    ulimit_rm: Vec<String>,
}

impl ContainerLists {
    pub(super) fn apply(
        &self,
        container: &mut ContainerSpec,
        resolved: &Resolved,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        container.hosts.retain(|line| !self.removes_host(line));
        merge::by_key(&mut container.hosts, &[], &self.host_add, Clone::clone);
        self.apply_dns(container);
        let env_add = self
            .env_add
            .iter()
            .map(|entry| create::env_entry(entry, environment))
            .collect::<Result<Vec<_>, _>>()?;
        merge::by_key(&mut container.env, &self.env_rm, &env_add, |entry| {
            merge::env_name(entry)
        });
        merge::by_key(
            &mut container.mounts,
            &self.mount_rm,
            &self.mount_add,
            |mount| mount.target.clone(),
        );
        let unreferenced = |references: &mut Vec<Value>, remove: &[String], add: &[Value]| {
            references.retain(|reference| !remove.contains(&references::name_of(reference)));
            merge::by_key(references, &[], add, references::mounted_at);
        };
        unreferenced(&mut container.configs, &self.config_rm, &resolved.configs);
        unreferenced(&mut container.secrets, &self.secret_rm, &resolved.secrets);
        merge::by_key(
            &mut container.groups,
            &self.group_rm,
            &self.group_add,
            Clone::clone,
        );
        if !self.cap_add.is_empty() || !self.cap_drop.is_empty() {
            merge::capabilities(
                &mut container.capability_add,
                &mut container.capability_drop,
                &self.cap_add,
                &self.cap_drop,
            );
        }
        container
            .sysctls
            .retain(|name, _| !self.sysctl_rm.contains(name));
        container.sysctls.extend(self.sysctl_add.iter().cloned());
        merge::by_key(
            &mut container.ulimits,
            &self.ulimit_rm,
            &self.ulimit_add,
            |ulimit| ulimit.name.clone(),
        );
        Ok(())
    }

    fn apply_dns(&self, container: &mut ContainerSpec) {
        let lists = [
            (&self.dns_rm, &self.dns_add),
            (&self.dns_search_rm, &self.dns_search_add),
            (&self.dns_option_rm, &self.dns_option_add),
        ];
        if lists
            .iter()
            .all(|(remove, add)| remove.is_empty() && add.is_empty())
        {
            return;
        }
        let dns = container.dns_config.get_or_insert_default();
        let places = [&mut dns.nameservers, &mut dns.search, &mut dns.options];
        for (place, (remove, add)) in places.into_iter().zip(lists) {
            merge::by_key(place, remove, add, Clone::clone);
        }
    }

    /// Whether a line of `/etc/hosts` is named by `NAME` or `NAME:ADDRESS`.
    fn removes_host(&self, line: &str) -> bool {
        let (address, names) = line.split_once(' ').unwrap_or((line, ""));
        self.host_rm.iter().any(|gone| {
            let (name, wanted) = gone.split_once(':').unwrap_or((gone, ""));
            names.split_whitespace().any(|known| known == name)
                && (wanted.is_empty() || wanted == address)
        })
    }
}
