use std::{path::PathBuf, sync::Arc};

use crate::model::Mistake;

use super::{
    check::LONGEST_NAME,
    cluster::PROVIDERS,
    reader::{label_mistake, suggest},
    tree::{Content, Source, parse},
};

/// Where `init` writes the schema that the file's first line names, relative to the stack file.
pub const SCHEMA_FILE: &str = ".stackup/stack.schema.json";

/// The stack file that `init` writes for a provider: short, with a comment on everything that one may want to
/// change. A name with an environment value in it can only be checked where the file is read.
pub fn template(provider: &str, name: &str) -> Result<String, Mistake> {
    let cluster = match provider {
        "kind" => KIND,
        "kwok" => KWOK,
        "eks" => EKS,
        "existing" => EXISTING,
        _ => {
            return Err(Mistake {
                file: "--provider".into(),
                line: 0,
                column: 0,
                message: format!("unknown provider '{provider}'"),
                hint: Some(suggest(provider, &PROVIDERS)),
            });
        }
    };
    if let Some(hint) = label_mistake(name, LONGEST_NAME).filter(|_| !name.contains("${env:")) {
        return Err(Mistake {
            file: "NAME".into(),
            line: 0,
            column: 0,
            message: format!("'{name}' is not a valid name of a stack"),
            hint: Some(hint),
        });
    }
    let name = scalar(name);
    let verify = if provider == "kwok" { "quick" } else { "standard" };
    Ok(format!(
        "# yaml-language-server: $schema={SCHEMA_FILE}
#
# A stack: a cluster and what runs on it. `stackup diff` shows what would happen, `stackup apply`
# makes it, `stackup destroy` takes everything down again.

# Names the cluster and the folder .stackup/NAME, where all that belongs to this stack is kept.
# An environment value goes where it is written: shop-${{env:USER}}.
name: {name}

# How long the stack is meant to live.
# lifetime: 8h

{cluster}
components:
  # A shop of eleven services, and the monitoring that watches it and the cluster. Both are inside
  # the program; a folder of your own YAML goes in the same place, as in ./manifests/shop.
  - name: online-boutique
    manifests: builtin:online-boutique
    # namespace: shop
    # dependsOn: [monitoring]
  - name: monitoring
    manifests: builtin:monitoring
    # Options that the component declares.
    # values:
    #   prometheus.retention: 2d
    # Another registry for some of the images.
    # images:
    #   quay.io/prometheus: mirror.example/prometheus

# How deep `apply` verifies at its end: off, quick (Kubernetes API only) or standard (and HTTP to
# every component).
verify: {verify}
"
    ))
}

/// A text as a YAML value: plain where YAML reads it back as it is.
fn scalar(text: &str) -> String {
    let source = Arc::new(Source {
        shown: PathBuf::new(),
        folder: PathBuf::new(),
        lines: false,
    });
    match parse(text, &source).map(|node| node.content) {
        Ok(Content::Text(read, _)) if read == text => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}

const KIND: &str = "cluster:
  # A cluster in containers on this machine, made by the program kind. Needs Docker.
  provider: kind
  # In quotes, since YAML reads 1.30 as the number 1.3.
  kubernetes: \"1.34\"
  # Worker nodes, beside the one of the control plane.
  workers: 2
  # kind:
  #   image: kindest/node:v1.34.11     # wins over kubernetes
  #   loadImages: [images/shop.tar]    # for nodes that reach no registry
";

const KWOK: &str = "cluster:
  # A rehearsal: a real control plane whose nodes and pods are simulated by the program kwokctl.
  # Everything is created, checked and reported as on a real cluster, and no container runs.
  provider: kwok
  # Simulated worker nodes.
  workers: 2
";

const EKS: &str = "cluster:
  # A cluster of AWS with a network and worker nodes of its own. It costs money while it stands:
  # `stackup diff` says what, and `stackup destroy` proves that nothing is left.
  provider: eks
  region: eu-central-1
  # In quotes, since YAML reads 1.30 as the number 1.3. Without it, the version that EKS takes.
  kubernetes: \"1.34\"
  network:
    cidr: 10.0.0.0/16
    zones: 2
    # none (nodes have public addresses; the cheapest), single or per-zone
    nat: single
  nodeGroups:
    - name: workers
      # Several of one size, so that a lack of one does not end the attempt.
      instanceTypes: [t3.large, t3a.large]
      # or spot
      capacity: on-demand
      desired: 2
  # Who may use the cluster, beside the identity that makes it.
  # access:
  #   - principal: arn:aws:iam::111122223333:role/admins
";

const EXISTING: &str = "cluster:
  # A cluster that is there already. stackup makes and removes only what is in this file.
  provider: existing
  existing:
    # `kubectl config get-contexts` lists the contexts; the current one is never taken by accident.
    context: kind-demo
    # kubeconfig: ${env:HOME}/.kube/config
";
