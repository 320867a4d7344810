use super::super::{
    Clients,
    error::{Purpose, failed},
};
use crate::resource::{Cause, ResourceError};

/// Who runs this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The account, twelve digits.
    pub(super) account: String,
    /// The ARN as STS tells it: of a session, where a role is assumed.
    pub(super) arn: String,
}

/// Asks AWS who runs this program.
pub(super) async fn caller(clients: &Clients) -> Result<Caller, ResourceError> {
    let told = clients.sts().await?.get_caller_identity().send().await;
    let told = told.map_err(|error| failed("sts:GetCallerIdentity", Purpose::Read, &error))?;
    let caller = told.account.zip(told.arn);
    let caller = caller.map(|(account, arn)| Caller { account, arn });
    caller.ok_or_else(|| {
        ResourceError::new(
            Cause::Unreachable,
            "sts:GetCallerIdentity tells no account and ARN",
        )
    })
}

impl Caller {
    /// `aws`, or the name of another partition.
    pub(super) fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or("aws")
    }

    /// The name of the role that is assumed, if one is. The ARN of the session lacks the role's path.
    pub(super) fn role(&self) -> Option<&str> {
        let (_, session) = self.arn.split_once(":assumed-role/")?;
        session.split('/').next()
    }

    /// Whether it is the account itself, which may do everything.
    pub(super) fn is_root(&self) -> bool {
        self.arn.ends_with(":root")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_behind_a_session_is_read_from_its_arn() {
        let caller = |arn: &str| Caller {
            account: "1".into(),
            arn: arn.into(),
        };
        let session = caller("arn:aws-cn:sts::1:assumed-role/ci/run-7");
        assert_eq!((session.role(), session.partition()), (Some("ci"), "aws-cn"));
        assert_eq!(caller("arn:aws:iam::1:user/me").role(), None);
        assert!(caller("arn:aws:iam::1:root").is_root());
    }
}
