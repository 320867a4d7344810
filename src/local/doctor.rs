use super::Local;

/// Something that a provider needs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// For which provider.
    pub of: &'static str,
    /// What.
    pub name: String,
    /// Where it was found, or what it says of itself.
    pub found: Option<String>,
    /// What to do if it was not.
    pub hint: Option<String>,
}

const KWOK: [&str; 7] = [
    "kwokctl",
    "kwok",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

impl Local {
    /// What of the local roads is there on this machine.
    pub async fn doctor(&self) -> Vec<Need> {
        let mut needs = vec![
            self.program("kind", "docker", "install Docker"),
            self.engine().await,
        ];
        needs.push(self.program(
            "kind",
            "kind",
            "install kind, or build it with scripts/control-plane",
        ));
        let build = "build it with scripts/control-plane, which prints the folder for STACKUP_CONTROL_PLANE";
        needs.extend(KWOK.iter().map(|name| self.program("kwok", name, build)));
        needs
    }

    fn program(&self, of: &'static str, name: &str, hint: &str) -> Need {
        let found = self
            .programs()
            .find(name)
            .ok()
            .map(|path| path.display().to_string());
        Need {
            of,
            name: name.to_owned(),
            hint: found.is_none().then(|| hint.to_owned()),
            found,
        }
    }

    async fn engine(&self) -> Need {
        let version = match self.programs().call("docker") {
            Ok(call) => {
                call.args(["version", "--format", "{{.Server.Version}}"])
                    .run()
                    .await
            }
            Err(error) => Err(error),
        };
        let found = version
            .ok()
            .map(|answer| format!("answers, version {}", answer.text().trim()));
        let hint = found
            .is_none()
            .then(|| "start the Docker service, and see that you may use it: docker info".to_owned());
        Need {
            of: "kind",
            name: "Docker engine".into(),
            found,
            hint,
        }
    }
}
