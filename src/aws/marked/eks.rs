//! Clusters, and what is in those that are marked.

use futures::future::try_join_all;
use serde_json::json;

use super::{
    super::{
        Clients,
        error::{is_gone, read},
        tags::{Tags, UID},
    },
    Thing, Whose,
};
use crate::resource::ResourceError;

/// Clusters, and of those that are marked everything in them.
pub(super) async fn list(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let names = match whose {
        Whose::One { cluster, .. } => cluster.map(str::to_owned).into_iter().collect(),
        Whose::All => clusters(clients).await?,
    };
    let all = names.into_iter().map(|name| cluster(clients, name));
    Ok(try_join_all(all).await?.into_iter().flatten().collect())
}

/// The names of all clusters of the region.
pub(in crate::aws) async fn clusters(clients: &Clients) -> Result<Vec<String>, ResourceError> {
    let call = clients.eks().await?.list_clusters();
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    read("eks:ListClusters", listed)
}

async fn cluster(clients: &Clients, name: String) -> Result<Vec<Thing>, ResourceError> {
    let described = match clients.eks().await?.describe_cluster().name(&name).send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribeCluster", sent)?.cluster,
    };
    let Some(cluster) = described else {
        return Ok(Vec::new());
    };
    let tags: Tags = cluster.tags.into_iter().flatten().collect();
    let vpc = cluster.resources_vpc_config.and_then(|config| config.vpc_id);
    let since = cluster.created_at.map(|made| made.secs());
    let itself = Thing {
        kind: "eks:cluster".to_owned(),
        outputs: json!({"name": name, "vpcId": vpc, "since": since}),
        id: name.clone(),
        tags,
    };
    if !itself.tags.contains_key(UID) {
        return Ok(vec![itself]);
    }
    let (groups, addons, entries) = futures::try_join!(
        node_groups(clients, &name),
        addons(clients, &name),
        entries(clients, &name)
    )?;
    Ok([vec![itself], groups, addons, entries].concat())
}

/// A thing in a cluster.
fn inside(
    kind: &str,
    cluster: &str,
    field: &str,
    name: String,
    tags: Option<impl IntoIterator<Item = (String, String)>>,
) -> Thing {
    Thing {
        kind: kind.to_owned(),
        outputs: json!({"cluster": cluster, field: name}),
        id: name,
        tags: tags.into_iter().flatten().collect(),
    }
}

async fn node_groups(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_nodegroups().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let names = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListNodegroups", listed)?,
    };
    let describe = |name: String| async {
        let call = eks
            .describe_nodegroup()
            .cluster_name(cluster)
            .nodegroup_name(&name);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeNodegroup", sent)?
                .nodegroup
                .map(|one| inside("eks:nodegroup", cluster, "name", name, one.tags))),
        }
    };
    Ok(try_join_all(names.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn addons(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_addons().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let names = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListAddons", listed)?,
    };
    let describe = |name: String| async {
        let call = eks.describe_addon().cluster_name(cluster).addon_name(&name);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeAddon", sent)?
                .addon
                .map(|one| inside("eks:addon", cluster, "name", name, one.tags))),
        }
    };
    Ok(try_join_all(names.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn entries(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_access_entries().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let principals = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListAccessEntries", listed)?,
    };
    let describe = |principal: String| async {
        let call = eks
            .describe_access_entry()
            .cluster_name(cluster)
            .principal_arn(&principal);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeAccessEntry", sent)?
                .access_entry
                .map(|one| inside("eks:access-entry", cluster, "principal", principal, one.tags))),
        }
    };
    Ok(try_join_all(principals.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}
