//! Load balancers that Services of type `LoadBalancer`, Ingresses and Gateways were given, and their target groups.
//! Their interfaces go by themselves, some minutes later.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{
    super::{
        Clients,
        error::{Answer, deleted, read},
        tags::Tags,
    },
    Family, Fate, Piece, Scope,
    piece::NO_MARK,
};
use crate::resource::{Boxed, ResourceError};

/// How many AWS takes in one question for tags.
const ASKED: usize = 20;

/// All of the scope, of both services.
pub(super) async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Piece>, ResourceError> {
    let (classic, (balancers, targets)) =
        futures::try_join!(classic(clients, scope), modern(clients, scope))?;
    Ok([classic, balancers, targets].concat())
}

async fn classic(clients: &Clients, scope: &Scope) -> Result<Vec<Piece>, ResourceError> {
    let elb = clients.elb().await?;
    let listed = elb.describe_load_balancers().into_paginator().items().send();
    let listed: Result<Vec<_>, _> = listed.collect().await;
    let all = read("elasticloadbalancing:DescribeLoadBalancers", listed)?;
    let here = all.into_iter().filter(|one| in_scope(scope, one.vpc_id()));
    let names: Vec<(String, String)> = here
        .filter_map(|one| Some((one.load_balancer_name?, one.dns_name.unwrap_or_default())))
        .collect();
    let ids: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let mut tags = tags_of(&ids, |some| {
        Box::pin(async move {
            let call = elb.describe_tags().set_load_balancer_names(Some(some));
            let told = there(call.send().await)?;
            Ok(told.map(|told| {
                let of = told.tag_descriptions.into_iter().flatten().map(|one| {
                    let pairs = one.tags.into_iter().flatten();
                    let tags = pairs.map(|tag| (tag.key, tag.value.unwrap_or_default()));
                    (one.load_balancer_name.unwrap_or_default(), tags.collect())
                });
                of.collect()
            }))
        })
    })
    .await?;
    let pieces = names.into_iter().filter_map(|(name, dns)| {
        let tags = tags.remove(&name)?;
        balancer(scope, Family::ClassicLoadBalancer, name, dns, &tags)
    });
    Ok(pieces.collect())
}

async fn modern(clients: &Clients, scope: &Scope) -> Result<(Vec<Piece>, Vec<Piece>), ResourceError> {
    let elb = clients.elbv2().await?;
    let balancers = async {
        let listed = elb.describe_load_balancers().into_paginator().items().send();
        let listed: Result<Vec<_>, _> = listed.collect().await;
        read("elasticloadbalancing:DescribeLoadBalancers", listed)
    };
    let targets = async {
        let listed = elb.describe_target_groups().into_paginator().items().send();
        let listed: Result<Vec<_>, _> = listed.collect().await;
        read("elasticloadbalancing:DescribeTargetGroups", listed)
    };
    let (mut balancers, mut targets) = futures::try_join!(balancers, targets)?;
    balancers.retain(|one| in_scope(scope, one.vpc_id()));
    targets.retain(|one| in_scope(scope, one.vpc_id()));
    let arns = balancers.iter().filter_map(|one| one.load_balancer_arn.clone());
    let arns: Vec<String> = arns
        .chain(targets.iter().filter_map(|one| one.target_group_arn.clone()))
        .collect();
    let tags = tags_of(&arns, |some| {
        Box::pin(async move {
            let told = there(elb.describe_tags().set_resource_arns(Some(some)).send().await)?;
            Ok(told.map(|told| {
                let of = told.tag_descriptions.into_iter().flatten().map(|one| {
                    let pairs = one.tags.into_iter().flatten();
                    let tags = pairs.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
                    (one.resource_arn.unwrap_or_default(), tags.collect())
                });
                of.collect()
            }))
        })
    })
    .await?;
    let balancers = balancers.into_iter().filter_map(|one| {
        let arn = one.load_balancer_arn?;
        let tags = tags.get(&arn)?;
        let dns = one.dns_name.unwrap_or_default();
        balancer(scope, Family::LoadBalancer, arn, dns, tags)
    });
    let targets = targets.into_iter().filter_map(|one| {
        let arn = one.target_group_arn?;
        let tags = tags.get(&arn)?;
        let users = one.load_balancer_arns.unwrap_or_default();
        target_group(scope, arn, one.target_group_name, &users, tags)
    });
    Ok((balancers.collect(), targets.collect()))
}

/// Tags by id. Where one of those that are asked for has gone meanwhile nothing is told of the others: then each is asked
/// for alone, and what is gone is left out.
async fn tags_of<'a>(
    ids: &[String],
    ask: impl Fn(Vec<String>) -> Boxed<'a, Answer<Option<BTreeMap<String, Tags>>>>,
) -> Answer<BTreeMap<String, Tags>> {
    let mut all = BTreeMap::new();
    for some in ids.chunks(ASKED) {
        if let Some(told) = ask(some.to_vec()).await? {
            all.extend(told);
            continue;
        }
        for one in some {
            all.extend(ask(vec![one.clone()]).await?.into_iter().flatten());
        }
    }
    Ok(all)
}

/// What a question for tags gave; nothing if one of the things is no longer there.
fn there<T, E>(sent: Result<T, SdkError<E, HttpResponse>>) -> Answer<Option<T>>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match sent {
        Err(error) if matches!(error.code(), Some("LoadBalancerNotFound" | "TargetGroupNotFound")) => {
            Ok(None)
        }
        sent => read("elasticloadbalancing:DescribeTags", sent).map(Some),
    }
}

fn in_scope(scope: &Scope, vpc: Option<&str>) -> bool {
    scope.vpc.is_none() || vpc == scope.vpc.as_deref()
}

fn balancer(scope: &Scope, family: Family, id: String, about: String, tags: &Tags) -> Option<Piece> {
    let fate = if scope.is_ours(tags, scope.vpc.is_some()) {
        Fate::Remove
    } else if scope.own {
        Fate::Foreign(NO_MARK.to_owned())
    } else {
        return None;
    };
    Some(Piece {
        family,
        id,
        about,
        fate,
    })
}

/// A target group keeps nothing else from being deleted, so one of somebody else is not worth a word.
fn target_group(
    scope: &Scope,
    id: String,
    name: Option<String>,
    used_by: &[String],
    tags: &Tags,
) -> Option<Piece> {
    scope.is_ours(tags, scope.vpc.is_some()).then(|| Piece {
        family: Family::TargetGroup,
        id,
        about: name.unwrap_or_default(),
        fate: match used_by.first() {
            None => Fate::Remove,
            Some(user) => Fate::Waits(format!("{user} uses it")),
        },
    })
}

/// Deletes one classic load balancer.
pub(super) async fn remove_classic(clients: &Clients, name: &str) -> Result<(), ResourceError> {
    let call = clients.elb().await?.delete_load_balancer();
    deleted(
        "elasticloadbalancing:DeleteLoadBalancer",
        "LoadBalancerNotFound",
        call.load_balancer_name(name).send().await,
    )
}

/// Deletes one network or application load balancer with its listeners.
pub(super) async fn remove(clients: &Clients, arn: &str) -> Result<(), ResourceError> {
    let call = clients.elbv2().await?.delete_load_balancer();
    deleted(
        "elasticloadbalancing:DeleteLoadBalancer",
        "LoadBalancerNotFound",
        call.load_balancer_arn(arn).send().await,
    )
}

/// Deletes one target group.
pub(super) async fn remove_targets(clients: &Clients, arn: &str) -> Result<(), ResourceError> {
    let call = clients.elbv2().await?.delete_target_group();
    deleted(
        "elasticloadbalancing:DeleteTargetGroup",
        "TargetGroupNotFound",
        call.target_group_arn(arn).send().await,
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::scope::tests::{scope, tags},
        *,
    };

    #[test]
    fn a_load_balancer_of_the_cluster_goes_and_another_one_in_our_vpc_is_named() {
        let scope = scope();
        let make = |scope: &Scope, pairs: &[(&str, &str)]| {
            let (id, dns) = ("a1".to_owned(), "a1.example".to_owned());
            balancer(scope, Family::ClassicLoadBalancer, id, dns, &tags(pairs)).map(|piece| piece.fate)
        };
        assert_eq!(
            make(&scope, &[("kubernetes.io/cluster/demo", "owned")]),
            Some(Fate::Remove)
        );
        assert_eq!(make(&scope, &[]), Some(Fate::Foreign(NO_MARK.into())));
        assert_eq!(
            make(&scope, &[("kubernetes.io/cluster/other", "owned")]),
            Some(Fate::Foreign(NO_MARK.into()))
        );
        assert_eq!(make(&Scope { own: false, ..scope }, &[]), None);
    }

    #[test]
    fn a_target_group_waits_for_the_load_balancer_that_uses_it() {
        let ours = tags(&[("elbv2.k8s.aws/cluster", "demo")]);
        let make = |used: &[String], tags: &Tags| target_group(&scope(), "arn".into(), None, used, tags);
        assert_eq!(make(&[], &ours).unwrap().fate, Fate::Remove);
        let waits = make(&["arn:lb".into()], &ours).unwrap().fate;
        assert_eq!(waits, Fate::Waits("arn:lb uses it".into()));
        assert_eq!(make(&[], &Tags::new()), None);
    }
}
