use std::fmt;

/// One thing that a cluster may have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::aws) struct Piece {
    pub(in crate::aws) family: Family,
    /// What removes it: an id, a name or an ARN.
    pub(in crate::aws) id: String,
    /// What else tells it to a person.
    pub(in crate::aws) about: String,
    pub(in crate::aws) fate: Fate,
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::aws) enum Fate {
    /// It is ours, and nothing keeps it.
    Remove,
    /// It is ours, and something keeps it yet: what.
    Waits(String),
    /// It is in our network and not ours: why not.
    Foreign(String),
    /// Someone said that it is to outlast the cluster: who, and what then.
    Kept(String),
}

/// What sort of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::aws) enum Family {
    ClassicLoadBalancer,
    LoadBalancer,
    TargetGroup,
    Interface,
    SecurityGroup,
    Volume,
    LaunchTemplate,
    LogGroup,
}

impl Family {
    /// As AWS calls it: service and type.
    pub(in crate::aws) fn name(self) -> &'static str {
        match self {
            Self::ClassicLoadBalancer => "elb:load-balancer",
            Self::LoadBalancer => "elbv2:load-balancer",
            Self::TargetGroup => "elbv2:target-group",
            Self::Interface => "ec2:network-interface",
            Self::SecurityGroup => "ec2:security-group",
            Self::Volume => "ec2:volume",
            Self::LaunchTemplate => "ec2:launch-template",
            Self::LogGroup => "logs:log-group",
        }
    }
}

/// Why something in our VPC is left alone.
pub(super) const NO_MARK: &str = "it carries neither the mark of this stack nor that of its cluster";

impl Piece {
    /// Whether it is ours, so that the sweep is not done while it is there.
    pub(in crate::aws) fn is_ours(&self) -> bool {
        !matches!(self.fate, Fate::Foreign(_) | Fate::Kept(_))
    }

    /// Whether the stack's network cannot go as long as this is in it.
    pub(super) fn keeps_network(&self) -> bool {
        match self.family {
            Family::ClassicLoadBalancer
            | Family::LoadBalancer
            | Family::Interface
            | Family::SecurityGroup => true,
            Family::TargetGroup | Family::Volume | Family::LaunchTemplate | Family::LogGroup => false,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.name(), self.id)?;
        if !self.about.is_empty() && self.about != self.id {
            write!(f, " ({})", self.about)?;
        }
        match &self.fate {
            Fate::Remove => Ok(()),
            Fate::Waits(why) | Fate::Foreign(why) | Fate::Kept(why) => write!(f, ": {why}"),
        }
    }
}

/// Pieces in one line, the first ones by name.
pub(super) fn list<'a>(pieces: impl Iterator<Item = &'a Piece>) -> String {
    const NAMED: usize = 6;
    let all: Vec<String> = pieces.map(ToString::to_string).collect();
    let named = all.iter().take(NAMED).map(String::as_str);
    let named = named.collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
