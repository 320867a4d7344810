//! Names of resources, from what the stack file calls them.

/// The name of an access entry: the last part of its principal's ARN, with what an address cannot hold replaced, and
/// the account, since roles of two accounts may be called the same.
pub(super) fn principal(arn: &str) -> String {
    let name = arn.rsplit('/').next().unwrap_or(arn);
    let account = arn.split(':').nth(4).unwrap_or_default();
    let kind = arn
        .rsplit(':')
        .next()
        .and_then(|resource| resource.split('/').next())
        .unwrap_or_default();
    format!("{account}-{kind}-{name}").replace(|c: char| c.is_whitespace(), "-")
}
